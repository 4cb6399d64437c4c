//! An equation in plain text as MathML, which every browser sets without help.

use maud::{Markup, PreEscaped, html};

/// Sets an equation on its own line; one that cannot be read stays as it is.
pub(super) fn display(equation: &str) -> Markup {
    let mut parser = Parser {
        rest: equation.trim(),
    };
    let set = parser.equation().filter(|_| parser.rest.is_empty());
    html! {
        div.formula {
            @match set {
                Some(set) => math display="block" alttext=(equation) { (PreEscaped(set)) },
                None => code { (equation) },
            }
        }
    }
}

/// Sets the name of a parameter or column within a line.
pub(super) fn symbol(name: &str) -> Markup {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '\'');
    html! {
        @if name.chars().all(is_name) { math { (PreEscaped(identifier(name))) } }
        @else { code { (name) } }
    }
}

/// Reads sums of products of powers; what it returns is MathML of letters and digits alone.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn take(&mut self, symbols: &[char]) -> Option<char> {
        self.rest = self.rest.trim_start();
        let first = self.rest.chars().next().filter(|c| symbols.contains(c))?;
        self.rest = &self.rest[first.len_utf8()..];
        Some(first)
    }

    fn equation(&mut self) -> Option<String> {
        let mut set = self.sum()?;
        if self.take(&['=']).is_some() {
            set = format!("{set}<mo>=</mo>{}", self.sum()?);
        }
        Some(set)
    }

    fn sum(&mut self) -> Option<String> {
        let mut set = self.product()?;
        while let Some(sign) = self.take(&['+', '−', '-']) {
            let sign = if sign == '+' { '+' } else { '−' };
            set = format!("{set}<mo>{sign}</mo>{}", self.product()?);
        }
        Some(set)
    }

    fn product(&mut self) -> Option<String> {
        let mut set = self.power(false)?;
        while let Some(sign) = self.take(&['·', '/']) {
            set = match sign {
                '/' => format!(
                    "<mfrac><mrow>{set}</mrow><mrow>{}</mrow></mfrac>",
                    self.power(true)?
                ),
                _ => format!("{set}<mo>·</mo>{}", self.power(false)?),
            };
        }
        Some(set)
    }

    /// `is_bare`: a sum below a bar or in an exponent needs no brackets.
    fn power(&mut self, is_bare: bool) -> Option<String> {
        let base = match self.take(&['(']) {
            Some(_) => {
                let sum = self.sum()?;
                self.take(&[')'])?;
                let has_exponent = self.rest.trim_start().starts_with('^');
                // `(D)^alpha` is what is left of `(D + t)^alpha`.
                let is_single = !sum.contains("<mo>");
                if is_single || is_bare && !has_exponent {
                    format!("<mrow>{sum}</mrow>")
                } else {
                    format!("<mrow><mo>(</mo>{sum}<mo>)</mo></mrow>")
                }
            }
            None => self.atom()?,
        };
        match self.take(&['^']) {
            Some(_) => Some(format!("<msup>{base}{}</msup>", self.power(true)?)),
            None => Some(base),
        }
    }

    fn atom(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '\'' | '.');
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then(|| identifier(name))
    }
}

/// Sets a number or a name: `A_token` and `delta1` have a subscript, columns their letter.
fn identifier(name: &str) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("<mn>{name}</mn>");
    }
    let column = |name: &str| match name {
        "params" => Some("N"),
        "tokens" => Some("D"),
        "concept_share" => Some("P"),
        "compression_ratio" => Some("R"),
        "loss" => Some("L"),
        _ => None,
    };
    if let Some(letter) = column(name) {
        return format!("<mi>{letter}</mi>");
    }
    let digits = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let (base, below) = match name.split_once('_') {
        Some((base, below)) => (base, below),
        None => (digits, &name[digits.len()..]),
    };
    let base = match base {
        "alpha" => "α",
        "beta" => "β",
        "gamma" => "γ",
        "delta" => "δ",
        base => base,
    };
    if below.is_empty() {
        return format!("<mi>{base}</mi>");
    }
    let below = column(below).unwrap_or(below).replace('_', " ");
    format!("<msub><mi>{base}</mi><mtext>{below}</mtext></msub>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaling_law::analysis::{DlcmForm, LawForm};
    use scaling_law::fit::law::by_name;

    #[test]
    fn equations_of_the_analysis_are_set() {
        let form = DlcmForm {
            offsets: false,
            ratio: false,
            data: false,
        };
        let laws = [
            by_name("dlcm").expect("registered"),
            by_name("chinchilla").expect("registered"),
            by_name("power:params").expect("registered"),
            by_name("dlcm_decay").expect("registered"),
            LawForm::Dlcm(form).law().expect("a law"),
        ];
        for law in laws {
            let set = display(&law.equation()).into_string();
            assert!(set.contains("<math"), "{set}");
        }
        let set = display("loss = A/(tokens)^alpha").into_string();
        assert!(!set.contains("<mo>(</mo>"), "{set}");
        let set = display("loss = E0 + A_token/(params·(1−P) + t)^delta1").into_string();
        let expected = "<mi>L</mi><mo>=</mo><msub><mi>E</mi><mtext>0</mtext></msub><mo>+</mo>\
                        <mfrac><mrow><msub><mi>A</mi><mtext>token</mtext></msub></mrow><mrow><msup>\
                        <mrow><mo>(</mo><mi>N</mi><mo>·</mo><mrow><mo>(</mo><mn>1</mn><mo>−</mo>\
                        <mi>P</mi><mo>)</mo></mrow><mo>+</mo><mi>t</mi><mo>)</mo></mrow><msub>\
                        <mi>δ</mi><mtext>1</mtext></msub></msup></mrow></mfrac>";
        assert!(set.contains(expected), "{set}");
    }

    #[test]
    fn what_cannot_be_read_stays_as_it_is() {
        for text in ["loss = <script>", "a = (b", "= 3", "loss = f(x)"] {
            let set = display(text).into_string();
            assert!(set.contains("<code>") && !set.contains("<script>"), "{set}");
        }
    }
}
