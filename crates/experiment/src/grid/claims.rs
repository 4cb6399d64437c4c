//! `claims` → statements with their tests.

use super::constraint::Written;
use super::document::{Content, Entry, Node};
use super::section::{Reader, is_name};
use super::settings::claims::{KEYS, LAWS, TESTS};
use super::settings::{AXES, settings};
use super::source::Problem;
use crate::claims::{Along, Bound, COLUMNS, Claim, Fitted, SCORES, Test};
use crate::expression::Names;
use crate::quantity;
use crate::spelling::nearest;

/// What a claim may name: columns of runs, axes, and scores.
struct Known<'a>(&'a [String]);

impl Known<'_> {
    fn has(&self, name: &str) -> bool {
        let is_score = || {
            let (subject, score) = name.rsplit_once('.').unwrap_or_default();
            !subject.is_empty() && SCORES.contains(&score)
        };
        self.names().any(|known| known == name) || is_score()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let columns = COLUMNS.iter().map(|(name, _)| *name);
        columns.chain(self.0.iter().map(String::as_str))
    }

    fn unknown(&self, name: &str) -> String {
        match nearest(name, self.names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!(
                "columns are {}; axes have their own names, and scores are TASK.bits_per_byte and the like",
                COLUMNS.map(|(name, _)| name).join(", ")
            ),
        }
    }
}

impl Names for Known<'_> {
    type Name = String;

    fn find(&self, name: &str) -> Result<String, String> {
        if self.has(name) {
            Ok(name.to_owned())
        } else {
            Err(self.unknown(name))
        }
    }

    fn bare_words(&self) -> bool {
        true
    }
}

/// Numbers that every fitted law has.
const LAW_NUMBERS: [&str; 2] = ["r_squared", "held_out"];

/// Columns of words.
const WORDS: [&str; 3] = ["kind", "data", "reads_ahead"];

/// Lists the axes that a file of this program's own models may have.
pub(super) fn own_axes() -> Vec<String> {
    let keys = AXES.iter().chain(settings());
    let axes = keys.filter(|key| key.is_axis());
    axes.map(|key| key.path.to_owned()).collect()
}

/// Reads all claims; `axes` are the names that expressions may have beside those of columns.
pub(super) fn read(reader: &mut Reader, section: &Entry, axes: &[String]) -> Vec<Claim> {
    let Some(entries) = section.node.entries() else {
        reader.not_a_mapping("claims", &section.node);
        return Vec::new();
    };
    let mut claims = Vec::new();
    for entry in entries {
        if !is_name(&entry.key) {
            reader.problems.push(
                Problem::new(format!("`{}` cannot be the name of a claim", entry.key))
                    .label(&entry.key_location, "")
                    .help("use letters, digits, `.`, `_` and `-`"),
            );
            continue;
        }
        if let (None, _) | (_, true) = (entry.node.entries(), entry.node.is_null()) {
            reader.not_a_mapping(&format!("claims.{}", entry.key), &entry.node);
            continue;
        }
        let read = One {
            entry,
            known: Known(axes),
        };
        claims.extend(read.claim(reader));
    }
    claims
}

/// A claim that is being read.
struct One<'a> {
    entry: &'a Entry,
    known: Known<'a>,
}

impl One<'_> {
    fn claim(&self, reader: &mut Reader) -> Option<Claim> {
        let before = reader.problems.len();
        for key in self.entry.node.entries().unwrap_or_default() {
            if !KEYS.iter().any(|known| known.name == key.key) {
                let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
                reader.unknown(key, &format!("claims.{}", self.entry.key), &names);
            }
        }
        let says = self.required("says").and_then(|says| text(&says.node));
        let says = reader.keep(says);
        let source = self.get("source").map(|source| text(&source.node));
        let source = source.and_then(|source| reader.keep(source));
        let test = self.test(reader);
        if reader.problems.len() > before {
            return None;
        }
        Some(Claim {
            name: self.entry.key.clone(),
            says: says?,
            source,
            test: test?,
        })
    }

    fn get(&self, key: &str) -> Option<&Entry> {
        self.entry.node.get(key)
    }

    fn required(&self, key: &str) -> Result<&Entry, Problem> {
        let example = KEYS.iter().find(|known| known.name == key);
        let example = example.map_or(String::new(), |known| format!("`{key}: {}`", known.example));
        self.get(key).ok_or_else(|| {
            Problem::new(format!("the claim `{}` lacks `{key}`", self.entry.key))
                .label(&self.entry.key_location, "")
                .help(format!("write {example}"))
        })
    }

    fn test(&self, reader: &mut Reader) -> Option<Test> {
        let kind = self
            .required("test")
            .and_then(|kind| word(&kind.node, &TESTS));
        let kind = reader.keep(kind)?;
        let takes: &[&str] = match kind.as_str() {
            "differs" => &["of", "among", "between", "at_least"],
            "transfers" => &["of", "among", "along", "over", "within"],
            "mean" => &["of", "among", "at_least", "at_most"],
            "law" => &["law", "number", "at_least", "at_most"],
            _ => &["of", "among", "along"],
        };
        for key in self.entry.node.entries().unwrap_or_default() {
            let is_own = ["says", "source", "test"].contains(&key.key.as_str())
                || takes.contains(&key.key.as_str());
            if !is_own && KEYS.iter().any(|known| known.name == key.key) {
                reader.problems.push(
                    Problem::new(format!("`{}` means nothing to the test `{kind}`", key.key))
                        .label(&key.key_location, "")
                        .help(format!("that takes {}", takes.join(", "))),
                );
            }
        }
        let read = match kind.as_str() {
            "optimum_inside" => self.along().map(Test::OptimumInside),
            "rises" => self.along().map(Test::Rises),
            "falls" => self.along().map(Test::Falls),
            "differs" => self.differs(),
            "transfers" => self.transfers(),
            "mean" => self.mean(),
            _ => self.law(),
        };
        reader.keep(read)
    }

    fn along(&self) -> Result<Along, Problem> {
        Ok(Along {
            along: self.axis("along")?,
            of: self.of()?,
            among: self.among()?,
        })
    }

    fn differs(&self) -> Result<Test, Problem> {
        let between = self.required("between")?;
        let two = match &between.node.content {
            Content::List(two) => two.as_slice(),
            _ => &[],
        };
        let [first, second] = two else {
            return Err(
                Problem::new(format!("`between` cannot be {}", between.node.describe()))
                    .label(&between.node.location, "")
                    .help("write two groups: `between: [\"kind = token_only\", \"kind = dlcm\"]`"),
            );
        };
        Ok(Test::Differs {
            between: [
                self.expression(first, "between")?,
                self.expression(second, "between")?,
            ],
            of: self.of()?,
            at_least: match self.get("at_least") {
                Some(entry) => number(&entry.node)?,
                None => 0.0,
            },
            among: self.among()?,
        })
    }

    fn transfers(&self) -> Result<Test, Problem> {
        let within = self.required("within")?;
        let amount = number(&within.node)?;
        if amount <= 0.0 {
            return Err(Problem::new("`within` must be above 0")
                .label(&within.node.location, "")
                .help("two values that are equally good differ by noise: say how much is as good as nothing"));
        }
        Ok(Test::Transfers {
            along: self.along()?,
            over: self.axis("over")?,
            within: amount,
        })
    }

    fn mean(&self) -> Result<Test, Problem> {
        Ok(Test::Mean {
            of: self.of()?,
            bound: self.bound()?,
            among: self.among()?,
        })
    }

    fn bound(&self) -> Result<Bound, Problem> {
        match (self.get("at_least"), self.get("at_most")) {
            (Some(entry), None) => Ok(Bound::AtLeast(number(&entry.node)?)),
            (None, Some(entry)) => Ok(Bound::AtMost(number(&entry.node)?)),
            _ => Err(
                Problem::new(format!("the claim `{}` needs one bound", self.entry.key))
                    .label(&self.entry.key_location, "")
                    .help("write `at_least` or `at_most`"),
            ),
        }
    }

    fn law(&self) -> Result<Test, Problem> {
        let law = self.required("law")?;
        let law = match word(&law.node, &LAWS)?.as_str() {
            "dlcm" => Fitted::Dlcm,
            "dense" => Fitted::Dense,
            "decay" => Fitted::Decay,
            _ => Fitted::TokenOnly,
        };
        let bound = self.bound()?;
        let entry = self.required("number")?;
        let number = text(&entry.node)?;
        let refuse = |why: String, help: &str| {
            Err(Problem::new(why).label(&entry.node.location, "").help(help))
        };
        match (number.as_str(), bound) {
            ("r_squared", Bound::AtLeast(limit) | Bound::AtMost(limit))
                if !(0.0..1.0).contains(&limit) =>
            {
                return refuse(
                    format!("R² cannot be bounded by {limit}"),
                    "it lies between 0 and 1: write 0.98",
                );
            }
            ("held_out", Bound::AtLeast(limit) | Bound::AtMost(limit)) if limit <= 0.0 => {
                return refuse(
                    format!("an error cannot be bounded by {limit}"),
                    "it is above 0: 0.02 is 2%",
                );
            }
            (name, _)
                if !LAW_NUMBERS.contains(&name)
                    && name.len() > 2
                    && nearest(name, LAW_NUMBERS).is_some() =>
            {
                let meant = nearest(name, LAW_NUMBERS).unwrap_or_default();
                return refuse(
                    format!("there is no number `{name}`"),
                    &format!("did you mean `{meant}`?"),
                );
            }
            _ => {}
        }
        Ok(Test::Law { law, number, bound })
    }

    fn axis(&self, key: &str) -> Result<String, Problem> {
        let entry = self.required(key)?;
        let name = text(&entry.node)?;
        if WORDS.contains(&name.as_str()) {
            return Err(
                Problem::new(format!("`{name}` has no numbers to look along"))
                    .label(&entry.node.location, "")
                    .help("groups are compared by `test: differs` and `between`"),
            );
        }
        if self.known.has(&name) {
            return Ok(name);
        }
        Err(Problem::new(format!("there is no `{name}`"))
            .label(&entry.node.location, "")
            .help(self.known.unknown(&name)))
    }

    fn of(&self) -> Result<String, Problem> {
        match self.get("of") {
            Some(entry) => self.expression(&entry.node, "of"),
            None => Ok("loss".to_owned()),
        }
    }

    fn among(&self) -> Result<Option<String>, Problem> {
        let among = self.get("among");
        among
            .map(|entry| self.expression(&entry.node, "among"))
            .transpose()
    }

    fn expression(&self, node: &Node, what: &'static str) -> Result<String, Problem> {
        Written::parse(node, what, &self.known)?;
        text(node)
    }
}

fn text(node: &Node) -> Result<String, Problem> {
    match &node.content {
        Content::Scalar { written, .. } if !node.is_null() && !written.trim().is_empty() => {
            Ok(written.clone())
        }
        _ => Err(
            Problem::new(format!("a text is needed, not {}", node.describe()))
                .label(&node.location, "")
                .help("write it on the same line, in quotes where it holds a colon"),
        ),
    }
}

fn word(node: &Node, words: &[&str]) -> Result<String, Problem> {
    let written = text(node)?;
    if words.contains(&written.as_str()) {
        return Ok(written);
    }
    let help = match nearest(&written, words.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("write one of {}", words.join(", ")),
    };
    Err(Problem::new(format!("there is no `{written}`"))
        .label(&node.location, "")
        .help(help))
}

fn number(node: &Node) -> Result<f64, Problem> {
    let written = text(node)?;
    let plain = written
        .parse()
        .ok()
        .or_else(|| quantity::parse_number(&written).ok());
    plain
        .filter(|value: &f64| value.is_finite())
        .ok_or_else(|| {
            Problem::new(format!("`{written}` is no number"))
                .label(&node.location, "")
                .help("write a number such as 0.02")
        })
}
