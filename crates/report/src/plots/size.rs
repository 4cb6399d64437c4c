//! How large figures are on paper and on screens, and in which formats they are written.

/// The size of a figure.
///
/// # Units
/// A figure is laid out in logical pixels, of which a point holds 1.61 on paper and 0.83 on a
/// slide: type is set at 7.5 to 8.4 points on paper, and at 14 to 16 on a slide that is not full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// One column of a paper, 3.3 inches wide.
    Column,
    /// The width of a paper's page, 6.9 inches.
    #[default]
    Page,
    /// A 16:9 slide, 13.33 by 7.5 inches.
    Slide,
}

impl Size {
    /// Every size.
    pub const ALL: [Self; 3] = [Self::Column, Self::Page, Self::Slide];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Column => "column",
            Self::Page => "page",
            Self::Slide => "slide",
        }
    }

    /// Returns its width in inches.
    pub(super) fn inches(self) -> f64 {
        match self {
            Self::Column => 3.3,
            Self::Page => 6.9,
            Self::Slide => 40.0 / 3.0,
        }
    }

    /// Returns its width in logical pixels.
    pub(super) fn width(self) -> f64 {
        match self {
            Self::Column => 800.0 * 3.3 / 6.9,
            Self::Page | Self::Slide => 800.0,
        }
    }

    /// Returns its height in logical pixels; `None` where a figure may be as high as it needs.
    pub(super) fn height(self) -> Option<f64> {
        (self == Self::Slide).then_some(450.0)
    }

    /// Returns what the names of its files end in; the page's, which is the usual size, in nothing.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Column => "-column",
            Self::Page => "",
            Self::Slide => "-slide",
        }
    }
}

/// A format that a figure is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Vector graphics for pages and editors.
    Svg,
    /// A bitmap of 240 dots an inch.
    Png,
    /// Vector graphics for documents, with the letters of the bundled font.
    Pdf,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Svg, Self::Png, Self::Pdf];

    /// Returns its name, which is also how the names of its files end.
    pub fn name(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
            Self::Pdf => "pdf",
        }
    }
}
