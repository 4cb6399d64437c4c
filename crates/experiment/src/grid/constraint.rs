//! `where`: constraints that say which cells of a grid are kept.
//!
//! An [`Expression`] whose names are those of the keys.

use super::document::{Content, Node};
use super::draft::Draft;
use super::key::{Key, Shown};
use super::settings::{self, AXES};
use super::source::{Location, Problem};
use crate::expression::{Expression, Names, NoValue, Span, Value, Wrong};
use crate::spelling::nearest;
use serde_yaml::Value as Yaml;

/// An expression in the file over names of type `N`, checked as far as it can be without values.
pub(super) struct Written<N> {
    expression: Expression<N>,
    place: Place,
}

/// A constraint on cells.
pub(super) type Constraint = Written<&'static Key>;

impl<N> Written<N> {
    /// Reads the expression that a node is, `what` being what messages call it.
    pub(super) fn parse<L: Names<Name = N>>(
        node: &Node,
        what: &'static str,
        names: &L,
    ) -> Result<Self, Problem> {
        let text = match &node.content {
            Content::Scalar {
                value: Yaml::String(text),
                ..
            } => text,
            Content::Scalar {
                value: Yaml::Number(_),
                written,
            } => written,
            _ => {
                return Err(
                    Problem::new(format!("`{what}` cannot be {}", node.describe()))
                        .label(&node.location, "")
                        .help("write an expression such as \"concept_share <= 0.5\""),
                );
            }
        };
        let whole = node.location.clone();
        let place = Place {
            what,
            inside: whole.written().find(text.as_str()),
            whole,
        };
        match Expression::parse(text, names) {
            Ok(expression) => Ok(Self { expression, place }),
            Err(wrong) => Err(place.problem(wrong)),
        }
    }

    /// Where it stands.
    pub(super) fn location(&self) -> &Location {
        &self.place.whole
    }

    /// Says whether it holds for what `get` makes of its names.
    pub(super) fn truth(
        &self,
        get: &impl Fn(&N) -> Result<Value, NoValue>,
    ) -> Result<bool, Problem> {
        let truth = self.expression.truth(get);
        truth.map_err(|wrong| self.place.problem(wrong))
    }

    /// Computes the number that it is for what `get` makes of its names.
    pub(super) fn number(
        &self,
        get: &impl Fn(&N) -> Result<Value, NoValue>,
    ) -> Result<f64, Problem> {
        let number = self.expression.number(get);
        number.map_err(|wrong| self.place.problem(wrong))
    }
}

/// Where the text of an expression lies in the file.
struct Place {
    /// What messages call it.
    what: &'static str,
    whole: Location,
    /// Offset of the expression in `whole`; `None` when it is escaped or folded.
    inside: Option<usize>,
}

impl Place {
    fn at(&self, (start, end): Span) -> Location {
        match self.inside {
            Some(inside) => self.whole.part(inside + start, inside + end),
            None => self.whole.clone(),
        }
    }

    fn problem(&self, wrong: Wrong) -> Problem {
        Problem::new(format!("this {} cannot be used: {}", self.what, wrong.why))
            .label(&self.at(wrong.span), "")
            .help(match wrong.help.as_str() {
                "" => "write it like `concept_share <= 0.5 or params > 0.3M`",
                help => help,
            })
    }
}

/// The keys of an experiment file as names.
struct Keys;

impl Names for Keys {
    type Name = &'static Key;

    fn find(&self, name: &str) -> Result<&'static Key, String> {
        if let Some(key) = settings::find(name) {
            return Ok(key);
        }
        let names = || AXES.iter().chain(settings::settings()).map(|key| key.path);
        let suffix = format!(".{name}");
        let meant = names()
            .find(|path| path.ends_with(&suffix))
            .or_else(|| nearest(name, names()));
        Err(match meant {
            Some(meant) => format!("did you mean `{meant}`? words stand in quotes"),
            None => format!(
                "names are {}, and paths such as training.batch; words stand in quotes",
                AXES.iter()
                    .map(|key| key.path)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        })
    }
}

fn value(key: &Key, draft: &Draft) -> Result<Value, NoValue> {
    Ok(match (key.get)(draft) {
        Shown::Number(number) => Value::Number(number),
        Shown::Word(word) => Value::Word(word),
        Shown::Flag(on) => Value::Word(on.to_string()),
        Shown::Nothing => {
            return Err(NoValue {
                why: format!("`{}` has no value here", key.path),
                help: "use what the cells themselves declare; what is solved comes later".into(),
            });
        }
    })
}

impl Constraint {
    /// Reads a constraint.
    pub(super) fn read(node: &Node) -> Result<Self, Problem> {
        match &node.content {
            Content::Scalar {
                value: Yaml::String(_),
                ..
            } => Self::parse(node, "constraint", &Keys),
            _ => Err(
                Problem::new(format!("`where` cannot be {}", node.describe()))
                    .label(&node.location, "")
                    .help(
                        "write an expression such as \"concept_share <= 0.5\", or a list of them",
                    ),
            ),
        }
    }

    /// Says whether a cell is kept.
    pub(super) fn holds(&self, draft: &Draft) -> Result<bool, Problem> {
        self.truth(&|key| value(key, draft))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::{Params, TokenBudget};
    use proptest::prelude::*;

    /// Evaluates an expression over N = 0.3M, D = 20 per param, P = 0.5, R = 4.
    fn holds(text: &str) -> Result<bool, String> {
        let draft = Draft {
            params: Some(Params(300_000)),
            tokens: Some(TokenBudget::PerParam(20.0)),
            concept_share: Some(0.5),
            compression_ratio: Some(4.0),
            ..Draft::default()
        };
        Expression::parse(text, &Keys)
            .and_then(|expression| expression.truth(&|key| value(key, &draft)))
            .map_err(|wrong| wrong.why)
    }

    #[test]
    fn expressions_mean_what_they_mean_in_mathematics() {
        for (text, truth) in [
            ("concept_share <= 0.5 or params > 0.3M", true),
            (
                "params == 0.3M and params = 3e5 and params == 300_000",
                true,
            ),
            ("params < 0.3M or params > 0.3M", false),
            ("0.3 <= concept_share < 0.5", false),
            ("0.3 < concept_share <= 0.5 < compression_ratio", true),
            (
                "1 + 2 * 3 == 7 and (1 + 2) * 3 == 9 and 8 / 4 / 2 == 1 and 5 - 2 - 1 == 2",
                true,
            ),
            ("not concept_share > 0.6 and not (params > 1M)", true),
            ("not concept_share < 0.6 or compression_ratio != 4", false),
            ("tokens / params == 20", true),
            ("-concept_share + 1 >= 0", true),
            (
                "training.batch >= 16 and training.threshold == 'calibrated'",
                true,
            ),
            ("training.threshold != \"calibrated\"", false),
            ("1 / 0 > 5", true),
            ("2^3^2 == 512 and -2^2 == -4 and 2^-1 == 0.5", true),
            ("2 * 3^2 == 18 and (2 * 3)^2 == 36", true),
            (
                "sqrt(params) == params^0.5 and exp(log(compression_ratio)) = 4",
                true,
            ),
            (
                "min(3, 1, 2) == 1 and max(3, 1 + 3) == 4 and max(2) == 2",
                true,
            ),
            (
                "round(2.6) == 3 and floor(2.6) == 2 and ceil(130, 64) == 192",
                true,
            ),
            (
                "if(params >= 0.3M, 2, 1) == 2 and if(seed > 3, 1, 7) == 7",
                true,
            ),
            ("min(0 / 0, 1) == 1 or sqrt(-1) == 0", false),
            ("0 / 0 == 0 or 0 / 0 < 1", false),
        ] {
            assert_eq!(holds(text), Ok(truth), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("", "a name or a number is missing here"),
            ("params >", "a name or a number is missing here"),
            ("params 3", "an operator is missing before this"),
            ("params", "a value stands where a comparison is needed"),
            ("params ? 3", "`?` means nothing"),
            ("(params > 3", "this parenthesis is not closed"),
            ("prams > 3", "there is no `prams`"),
            ("sine(params) > 3", "there is no function `sine`"),
            ("sqrt(1, 2) > 3", "`sqrt` does not take 2 values"),
            ("if(params > 3, 1) == 1", "`if` does not take 2 values"),
            (
                "if(params, 1, 2) == 1",
                "a value stands where a comparison is needed",
            ),
            ("sqrt() > 3", "a name or a number is missing here"),
            ("min(1, 2 > 3", "this parenthesis is not closed"),
            ("params, 3", "an operator is missing before this"),
            ("params > 'x'", "these cannot be compared"),
            ("training.threshold > 'a'", "these cannot be compared"),
            ("params + 'x' > 1", "this is not a number"),
            (
                "params > 1X",
                "`X` in `1X` is not a known suffix; use K (10^3), M (10^6), B (10^9) or T (10^12)",
            ),
            ("params > 'x", "a quote is not closed"),
            ("flops > 1", "`flops` has no value here"),
            (
                "params > 1 and 3",
                "a value stands where a comparison is needed",
            ),
        ] {
            assert_eq!(holds(text), Err(why.to_owned()), "{text}");
        }
        assert_eq!(
            holds(&"(".repeat(5000)),
            Err("it is nested too deeply".into())
        );
        assert_eq!(
            holds(&"not ".repeat(5000)),
            Err("it is nested too deeply".into())
        );
        assert_eq!(holds(&"1 + ".repeat(5000)), Err("it is too long".into()));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = holds(&text);
        }

        #[test]
        fn nothing_like_an_expression_panics(
            text in "(params|seed|min\\(|1M|0|'é'|[-+*/^()<>=!., ]|and |or |not |\\PC){0,40}"
        ) {
            let _ = holds(&text);
        }
    }
}
