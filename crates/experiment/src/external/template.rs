//! Texts with expressions between braces: `--model-tag=d{depth}`, `{if(depth >= 20, 16, 32)}`.

use crate::expression::{Expression, Names, NoValue, Value, Wrong};

/// A text with expressions in it.
pub struct Template(Vec<Part>);

enum Part {
    Text(String),
    /// A name alone: what it stands for is put in as it is written.
    Name(String),
    Expression(Expression<String>),
}

/// What a name in a template stands for.
pub enum Filling {
    /// A text, put in as it is.
    Text(String),
    /// A number, with how it is written.
    Number(f64, String),
    /// True or false.
    Truth(bool),
}

/// Every name, known or not: what it stands for is asked when it is needed.
struct Any;

impl Names for Any {
    type Name = String;

    fn find(&self, name: &str) -> Result<String, String> {
        Ok(name.to_owned())
    }
}

impl Template {
    /// Reads a template; `{{` and `}}` are braces.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let end = rest.find('}').filter(|_| brace == "{");
            let Some(end) = end else {
                return Err(format!(
                    "`{brace}` stands alone in `{text}`: a brace itself is written twice"
                ));
            };
            let inside = rest[..end].trim();
            rest = &rest[end + 1..];
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            let is_name = |c: char| c.is_alphanumeric() || "_.-".contains(c);
            let starts = inside.starts_with(|c: char| c.is_alphabetic() || c == '_');
            parts.push(if starts && inside.chars().all(is_name) {
                Part::Name(inside.to_owned())
            } else {
                let expression = Expression::parse(inside, &Any);
                Part::Expression(expression.map_err(|wrong| said(inside, &wrong))?)
            });
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// Says whether it is this name between braces and nothing else.
    pub fn is_name(&self, wanted: &str) -> bool {
        matches!(self.0.as_slice(), [Part::Name(name)] if name == wanted)
    }

    /// Says whether a part of it is this name alone.
    pub fn uses(&self, wanted: &str) -> bool {
        let mut parts = self.0.iter();
        parts.any(|part| matches!(part, Part::Name(name) if name == wanted))
    }

    /// Lists the names that it uses.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(_) => {}
                Part::Name(name) => names.push(name.clone()),
                Part::Expression(expression) => names.extend(expression.names().cloned()),
            }
        }
        names
    }

    /// Writes the text with what names stand for; `None` from `get` is a name that stands for nothing.
    ///
    /// # Errors
    /// What stands for nothing or cannot be computed.
    pub fn fill(&self, get: &impl Fn(&str) -> Option<Filling>) -> Result<String, String> {
        let missing = |name: &str| format!("`{{{name}}}` stands for nothing here");
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Name(name) => match get(name).ok_or_else(|| missing(name))? {
                    Filling::Text(word) | Filling::Number(_, word) => text.push_str(&word),
                    Filling::Truth(on) => text.push_str(if on { "true" } else { "false" }),
                },
                Part::Expression(expression) => {
                    let value = |name: &String| match get(name) {
                        Some(Filling::Number(number, _)) => Ok(Value::Number(number)),
                        Some(Filling::Text(word)) => Ok(Value::Word(word)),
                        Some(Filling::Truth(on)) => Ok(Value::Word(on.to_string())),
                        None => Err(NoValue {
                            why: missing(name),
                            help: String::new(),
                        }),
                    };
                    match expression.value(&value).map_err(|wrong| wrong.why)? {
                        Value::Number(number) if number.is_finite() => {
                            text.push_str(&number.to_string());
                        }
                        Value::Word(word) => text.push_str(&word),
                        Value::Truth(on) => text.push_str(if on { "true" } else { "false" }),
                        Value::Number(_) | Value::Missing => {
                            return Err("an expression between braces has no value here".into());
                        }
                    }
                }
            }
        }
        Ok(text)
    }
}

fn said(inside: &str, wrong: &Wrong) -> String {
    match wrong.help.as_str() {
        "" => format!("`{{{inside}}}` cannot be used: {}", wrong.why),
        help => format!("`{{{inside}}}` cannot be used: {}; {help}", wrong.why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        Template::parse(text)?.fill(&|name| match name {
            "depth" => Some(Filling::Number(20.0, "20".into())),
            "flops" => Some(Filling::Number(2.15e18, "2.15e18".into())),
            "model" => Some(Filling::Text("moe".into())),
            "bias" => Some(Filling::Truth(true)),
            _ => None,
        })
    }

    #[test]
    fn names_are_put_in_as_written_and_expressions_computed() {
        for (text, right) in [
            ("--depth={depth}", "--depth=20"),
            ("scaling_{flops}_d{depth}", "scaling_2.15e18_d20"),
            ("{if(depth >= 28, 8, if(depth >= 20, 16, 32))}", "16"),
            ("--width={depth * 64}", "--width=1280"),
            ("{if(model == 'moe', 'experts', 'dense')}", "experts"),
            ("{bias}", "true"),
            ("{{{depth}}}", "{20}"),
            ("", ""),
        ] {
            assert_eq!(filled(text), Ok(right.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("{depth", "stands alone"),
            ("depth}", "stands alone"),
            ("{width}", "stands for nothing"),
            ("{depth *}", "a name or a number is missing"),
            ("{0 / 0}", "has no value"),
            ("{depth + model}", "not a number"),
        ] {
            let said = filled(text).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
