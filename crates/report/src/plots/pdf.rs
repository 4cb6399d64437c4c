//! PDF through the same simplest shapes: a backend of the drawing library whose text stays text, in
//! the bundled font, of which each file holds the letters that it needs.

use super::style::FONT_FILE;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::writers::ExtGraphicsState;
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, Str};
use plotters_backend::text_anchor::HPos;
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontTransform,
};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write as _;
use subsetter::GlyphRemapper;
use ttf_parser::{Face, RawFace, Tag};

/// How far the middle of small letters lies above the line they stand on, in sizes of the type.
const MIDDLE: f32 = 0.273;

/// Sizes of the type in the height of a line, which the drawing library takes for the size.
const LINE: f32 = 1.24;

/// How far the handles of a quarter of a circle reach, in radii.
const HANDLE: f32 = 0.552_285;

/// The font's name within the file.
const FONT: Name<'static> = Name(b"F");

/// Letters are numbered as the embedded font numbers them.
const NUMBERING: SystemInfo<'static> = SystemInfo {
    registry: Str(b"Adobe"),
    ordering: Str(b"Identity"),
    supplement: 0,
};

/// Draws one page of `size` units, of which each is `unit` points long.
pub(super) fn page(
    size: (u32, u32),
    unit: f32,
    draw: impl FnOnce(Backend<'_>) -> Result<(), String>,
) -> Result<Vec<u8>, String> {
    let mut page = Page {
        content: Content::new(),
        opacities: Vec::new(),
        letters: GlyphRemapper::new(),
        meanings: BTreeMap::new(),
        face: Face::parse(FONT_FILE, 0).map_err(|error| error.to_string())?,
    };
    let [width, height] = [size.0, size.1].map(|length| length as f32 * unit);
    // Figures are laid out from the top left; pages begin at the bottom.
    page.content.transform([unit, 0.0, 0.0, -unit, 0.0, height]);
    draw(Backend {
        page: &mut page,
        size,
    })?;
    page.finish([width, height])
}

/// A page that is being drawn.
struct Page {
    content: Content,
    /// The opacities that are used, in 255ths.
    opacities: Vec<u8>,
    /// The letters that are used, renumbered.
    letters: GlyphRemapper,
    /// The characters that letters stand for, by their new numbers.
    meanings: BTreeMap<u16, char>,
    face: Face<'static>,
}

impl Page {
    fn opacity(&mut self, opacity: f64) {
        let opacity = (opacity.clamp(0.0, 1.0) * 255.0).round() as u8;
        if !self.opacities.contains(&opacity) {
            self.opacities.push(opacity);
        }
        let name = opacity_name(opacity);
        self.content.set_parameters(Name(name.as_bytes()));
    }

    fn fill(&mut self, BackendColor { alpha, rgb }: BackendColor) {
        self.opacity(alpha);
        let [red, green, blue] = shares(rgb);
        self.content.set_fill_rgb(red, green, blue);
    }

    /// Paints the path that was laid: its inside, or its line.
    fn paint<S: BackendStyle>(&mut self, style: &S, fill: bool) {
        if fill {
            self.fill(style.color());
            self.content.fill_nonzero();
        } else {
            let BackendColor { alpha, rgb } = style.color();
            self.opacity(alpha);
            let [red, green, blue] = shares(rgb);
            self.content.set_stroke_rgb(red, green, blue);
            self.content.set_line_width(style.stroke_width() as f32);
            self.content.stroke();
        }
    }

    /// Lays a path through points, from the last to the first too where asked.
    fn path(&mut self, points: impl IntoIterator<Item = BackendCoord>, close: bool) {
        for (k, (x, y)) in points.into_iter().enumerate() {
            let (x, y) = (x as f32, y as f32);
            if k == 0 {
                self.content.move_to(x, y);
            } else {
                self.content.line_to(x, y);
            }
        }
        if close {
            self.content.close_path();
        }
    }

    fn circle(&mut self, (x, y): BackendCoord, radius: u32) {
        let (x, y, r) = (x as f32, y as f32, radius as f32);
        let handle = HANDLE * r;
        self.content.move_to(x + r, y);
        // A quarter at a time: the directions in which each starts and ends.
        for ((a, b), (c, d)) in [
            ((1.0, 0.0), (0.0, 1.0)),
            ((0.0, 1.0), (-1.0, 0.0)),
            ((-1.0, 0.0), (0.0, -1.0)),
            ((0.0, -1.0), (1.0, 0.0)),
        ] {
            let (from, to) = ((x + r * a, y + r * b), (x + r * c, y + r * d));
            self.content.cubic_to(
                from.0 + handle * c,
                from.1 + handle * d,
                to.0 + handle * a,
                to.1 + handle * b,
                to.0,
                to.1,
            );
        }
        self.content.close_path();
    }

    /// The width of a letter, in sizes of the type.
    fn advance(&self, letter: u16) -> f32 {
        let advance = self.face.glyph_hor_advance(ttf_parser::GlyphId(letter));
        f32::from(advance.unwrap_or(0)) / f32::from(self.face.units_per_em())
    }

    /// Finds the letters of a text in the embedded font, and how wide they are together, in sizes of
    /// the type.
    fn letters(&mut self, text: &str) -> (Vec<u8>, f32) {
        let (mut numbers, mut width) = (Vec::new(), 0.0);
        for character in text.chars() {
            let letter = self
                .face
                .glyph_index(character)
                .map_or(0, |letter| letter.0);
            let number = self.letters.remap(letter);
            self.meanings.insert(number, character);
            numbers.extend(number.to_be_bytes());
            width += self.advance(letter);
        }
        (numbers, width)
    }

    /// Writes the file.
    fn finish(self, [width, height]: [f32; 2]) -> Result<Vec<u8>, String> {
        let ids: [Ref; 9] = std::array::from_fn(|k| Ref::new(k as i32 + 1));
        let [
            catalog,
            pages,
            page,
            content,
            font,
            cid,
            descriptor,
            program,
            meanings,
        ] = ids;
        let mut pdf = Pdf::new();
        pdf.catalog(catalog).pages(pages);
        pdf.pages(pages).kids([page]).count(1);
        let mut sheet = pdf.page(page);
        sheet.parent(pages).contents(content);
        sheet.media_box(Rect::new(0.0, 0.0, width, height));
        let mut resources = sheet.resources();
        resources.fonts().pair(FONT, font);
        let mut states = resources.ext_g_states();
        for opacity in &self.opacities {
            let share = f32::from(*opacity) / 255.0;
            let name = opacity_name(*opacity);
            let mut state = states
                .insert(Name(name.as_bytes()))
                .start::<ExtGraphicsState<'_>>();
            state.non_stroking_alpha(share).stroking_alpha(share);
        }
        states.finish();
        resources.finish();
        sheet.finish();
        self.embed(&mut pdf, [font, cid, descriptor, program, meanings])?;
        let drawn = packed(self.content.finish().as_slice())?;
        pdf.stream(content, &drawn).filter(Filter::FlateDecode);
        Ok(pdf.finish())
    }

    /// Embeds the letters that are used.
    fn embed(
        &self,
        pdf: &mut Pdf,
        [font, cid, descriptor, program, meanings]: [Ref; 5],
    ) -> Result<(), String> {
        let used: Vec<u16> = self.letters.remapped_gids().collect();
        // Programs that put several figures into one document tell their fonts apart by this.
        let mark = used.iter().fold(5381u32, |mark, letter| {
            mark.wrapping_mul(33) ^ u32::from(*letter)
        });
        let letter = |k: u32| char::from(b'A' + ((mark >> (5 * k)) & 0x1f).min(25) as u8);
        let name = (0..6).map(letter).collect::<String>() + "+Inter-Regular";
        let name = Name(name.as_bytes());
        pdf.type0_font(font)
            .base_font(name)
            .encoding_predefined(Name(b"Identity-H"))
            .descendant_font(cid)
            .to_unicode(meanings);
        let mut letters = pdf.cid_font(cid);
        letters
            .subtype(CidFontType::Type0)
            .base_font(name)
            .system_info(NUMBERING)
            .font_descriptor(descriptor);
        let widths = used.iter().map(|letter| 1000.0 * self.advance(*letter));
        letters.widths().consecutive(0, widths);
        letters.finish();
        let em = f32::from(self.face.units_per_em());
        let scaled = |value: i16| 1000.0 * f32::from(value) / em;
        let whole = self.face.global_bounding_box();
        pdf.font_descriptor(descriptor)
            .name(name)
            .flags(FontFlags::NON_SYMBOLIC)
            .bbox(Rect::new(
                scaled(whole.x_min),
                scaled(whole.y_min),
                scaled(whole.x_max),
                scaled(whole.y_max),
            ))
            .italic_angle(0.0)
            .ascent(scaled(self.face.ascender()))
            .descent(scaled(self.face.descender()))
            .cap_height(scaled(self.face.capital_height().unwrap_or(0)))
            .stem_v(80.0)
            .font_file3(program);
        let subset = subsetter::subset(FONT_FILE, 0, &self.letters).map_err(|e| e.to_string())?;
        let subset = RawFace::parse(&subset, 0).map_err(|error| error.to_string())?;
        let outlines = subset.table(Tag::from_bytes(b"CFF "));
        let outlines = packed(outlines.ok_or("the bundled font has no outlines of its kind")?)?;
        pdf.stream(program, &outlines)
            .filter(Filter::FlateDecode)
            .pair(Name(b"Subtype"), Name(b"CIDFontType0C"));
        let mut map = UnicodeCmap::new(Name(b"Custom"), NUMBERING);
        for (letter, character) in &self.meanings {
            map.pair(*letter, *character);
        }
        pdf.cmap(meanings, map.finish().as_slice());
        Ok(())
    }
}

fn opacity_name(opacity: u8) -> String {
    format!("O{opacity}")
}

fn shares((red, green, blue): (u8, u8, u8)) -> [f32; 3] {
    [red, green, blue].map(|part| f32::from(part) / 255.0)
}

fn packed(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
    let written = packer.write_all(bytes);
    let packed = written.and_then(|()| packer.finish());
    packed.map_err(|error| error.to_string())
}

/// What the drawing library draws on.
pub(super) struct Backend<'a> {
    page: &'a mut Page,
    size: (u32, u32),
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Backend<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, colour: BackendColor) -> Drawn {
        self.page.content.rect(x as f32, y as f32, 1.0, 1.0);
        self.page.fill(colour);
        self.page.content.fill_nonzero();
        Ok(())
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom)];
        self.page.path(corners, true);
        self.page.paint(style, fill);
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        self.page.path(path, false);
        self.page.paint(style, false);
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        centre: BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        self.page.circle(centre, radius);
        self.page.paint(style, fill);
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Drawn {
        self.page.path(corners, true);
        self.page.paint(style, true);
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Drawn {
        let size = style.size() as f32 / LINE;
        let (letters, width) = self.page.letters(text);
        let back = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => 0.5 * width * size,
            HPos::Right => width * size,
        };
        // The direction in which the text runs.
        let (across, down) = match style.transform() {
            FontTransform::None => (1.0, 0.0),
            FontTransform::Rotate90 => (0.0, 1.0),
            FontTransform::Rotate180 => (-1.0, 0.0),
            FontTransform::Rotate270 => (0.0, -1.0),
        };
        let drop = MIDDLE * size;
        let start = (
            x as f32 - back * across - drop * down,
            y as f32 - back * down + drop * across,
        );
        self.page.fill(style.color());
        self.page
            .content
            .begin_text()
            .set_font(FONT, size)
            .set_text_matrix([across, down, down, -across, start.0, start.1])
            .show(Str(&letters))
            .end_text();
        Ok(())
    }
}
