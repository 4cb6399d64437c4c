//! How much less one kind of runs needs than another for the same loss.

use crate::analysis::{Fitted, LEVEL, number};
use crate::fit::allocation::Variable;
use crate::fit::{FittedLaw, interval};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Which kinds of runs are compared, along what.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeedupQuestion {
    /// The column whose words tell them apart.
    pub column: String,
    /// The word of those that are judged.
    pub word: String,
    /// The word of those that they are judged by.
    pub over: String,
    /// The column of which less is needed; `None` for tokens, or else parameters.
    pub along: Option<String>,
}

/// How many times as much of a column runs of one word need as those of another, for the same loss.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speedup {
    /// The column whose words tell them apart.
    pub column: String,
    /// The word of those that are judged.
    pub word: String,
    /// The word of those that they are judged by.
    pub over: String,
    /// The column of which less is needed.
    pub along: String,
    /// Where those that are judged stand.
    pub at: BTreeMap<String, f64>,
    /// Their loss there.
    pub loss: f64,
    /// How many times as much the others need for it, 0 where they have it with a millionth; null where a million times
    /// as much does not reach it.
    pub factor: Option<f64>,
    /// Its 95% interval over the resamples; an end that is out of reach is null.
    pub interval: Option<[Option<f64>; 2]>,
}

/// As far as a column is followed for an equal loss, in either direction.
const FARTHEST: f64 = 1e6;

/// Places along it that are looked at first.
const STEPS: usize = 120;

impl Fitted {
    /// Finds how many times as much runs of one word need as those of another at a place.
    ///
    /// # Errors
    /// When the law does not read what is named, or has no value at the place.
    pub fn speedup(
        &self,
        at: &BTreeMap<String, f64>,
        question: &SpeedupQuestion,
    ) -> Result<Speedup, String> {
        let inputs = self.law.law().inputs();
        let place = |name: &str| inputs.iter().position(|input| input.name == name);
        let column = &question.column;
        let by = place(column).filter(|by| !inputs[*by].words.is_empty());
        let Some(by) = by else {
            return Err(format!(
                "no parameter of the law differs by `{column}`: one that does is written like `A[{column}]`"
            ));
        };
        let code = |word: &String| {
            let words = &inputs[by].words;
            let at = words.iter().position(|known| known == word);
            at.map(|at| at as f64)
                .ok_or_else(|| format!("`{column}` is one of {}, not `{word}`", words.join(", ")))
        };
        let (own, over) = (code(&question.word)?, code(&question.over)?);
        let usual = [Variable::Tokens, Variable::Params].map(|variable| variable.name().to_owned());
        let mut along = question
            .along
            .iter()
            .chain(&usual)
            .filter_map(|name| Some((name, place(name)?)));
        let asked = question.along.as_ref();
        let Some((along, at_along)) = along
            .next()
            .filter(|(name, _)| asked.is_none_or(|asked| asked == *name))
        else {
            return Err(format!(
                "the law does not read `{}`: name a column along which runs are compared, as in `--along params`",
                asked.map_or("tokens", String::as_str)
            ));
        };
        if !inputs[at_along].words.is_empty() {
            return Err(format!(
                "`{along}` is words, of which there is not more or less"
            ));
        }
        let mut at = at.clone();
        at.insert(column.clone(), own);
        let predicted = self.predict(&at)?;
        // Predicting has checked that each is there, by its own name or its letter; words are named as they are.
        let value = |name: &String| predicted.at.get(name).or_else(|| at.get(name)).copied();
        let values: Vec<f64> = inputs
            .iter()
            .map(|input| value(&input.name).unwrap_or(f64::NAN))
            .collect();
        let near = |factor: f64| {
            let mut near = values.clone();
            near[at_along] *= factor;
            self.law.predict(&near)
        };
        let slope = near(1.01) - near(0.99);
        if slope.is_nan() || slope >= 0.0 {
            return Err(format!(
                "the law's loss does not fall as `{along}` grows there: more of it is not needed for less"
            ));
        }
        let factor = |law: &FittedLaw| needed(law, &values, by, over, at_along);
        let drawn: Vec<f64> = self.draws.iter().map(factor).collect();
        let reached = |end: f64| Some(end).filter(|end| end.is_finite());
        Ok(Speedup {
            column: column.clone(),
            word: question.word.clone(),
            over: question.over.clone(),
            along: along.clone(),
            loss: predicted.prediction,
            factor: reached(factor(&self.law)),
            interval: interval(&drawn, LEVEL).map(|ends| ends.map(reached)),
            at: predicted.at,
        })
    }
}

/// How many times as much of a column runs of another word need at least for the loss at a place; 0 where the least that is
/// tried has it, infinity where none has.
fn needed(law: &FittedLaw, values: &[f64], by: usize, over: f64, along: usize) -> f64 {
    let target = law.predict(values);
    let mut other = values.to_vec();
    other[by] = over;
    let mut reaches = |ln_factor: f64| {
        other[along] = values[along] * ln_factor.exp();
        law.predict(&other) <= target
    };
    let at = |step: usize| FARTHEST.ln() * (2.0 * step as f64 / STEPS as f64 - 1.0);
    let first = (0..=STEPS).find(|step| reaches(at(*step)));
    let (mut low, mut high) = match first {
        None => return f64::INFINITY,
        Some(0) => return 0.0,
        Some(step) => (at(step - 1), at(step)),
    };
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if reaches(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    (0.5 * (low + high)).exp()
}

impl fmt::Display for Speedup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            column,
            word,
            over,
            along,
            ..
        } = self;
        let times = |end: Option<f64>| match end {
            None => "more than a million times".to_owned(),
            Some(0.0) => "less than a millionth of".to_owned(),
            Some(end) => format!("{}×", number(end)),
        };
        let interval = self.interval.map_or_else(String::new, |[low, high]| {
            format!(" [{}, {}]", times(low), times(high))
        });
        write!(
            f,
            "{column} {word} for {over}: a loss of {:.4} takes {} the {along}{interval} with {over}",
            self.loss,
            times(self.factor),
        )?;
        // What is out of reach is more than anything.
        let differs = |[low, high]: [Option<f64>; 2]| {
            low.is_none_or(|low| low > 1.0) || high.is_some_and(|high| high < 1.0)
        };
        if self.interval.is_some_and(|interval| !differs(interval)) {
            write!(f, "; not told apart: 1× is within the interval")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::law::by_name;

    #[test]
    fn a_planted_speedup_is_found() {
        let law = by_name("E + A/N^a + B[kind]/D^b where kind in (fast, slow)").expect("a formula");
        let names: Vec<String> = law.parameters().into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["E", "A", "a", "B[fast]", "B[slow]", "b"]);
        // B differs by 1.5^0.4: the one needs two thirds of the other's tokens.
        let drawn = |ratio: f64| {
            let values = vec![1.7, 400.0, 0.34, 900.0, 900.0 * f64::powf(ratio, 0.4), 0.4];
            FittedLaw::from_parts(law.clone(), values).expect("complete")
        };
        let fitted = Fitted {
            law: drawn(1.5),
            draws: [1.3, 1.5, 1.7].map(drawn).to_vec(),
            ranges: Vec::new(),
            ratios: Vec::new(),
            at_tokens: None,
            noise: None,
        };
        let at = BTreeMap::from([("N".to_owned(), 1e9), ("D".to_owned(), 2e10)]);
        let question = |word: &str, over: &str, along: Option<&str>| SpeedupQuestion {
            column: "kind".to_owned(),
            word: word.to_owned(),
            over: over.to_owned(),
            along: along.map(str::to_owned),
        };
        let found = fitted
            .speedup(&at, &question("fast", "slow", None))
            .expect("asked");
        assert!(
            (found.factor.expect("reached") - 1.5).abs() < 1e-9,
            "{found:?}"
        );
        let [low, high] = found.interval.expect("drawn");
        assert!(low.expect("reached") < 1.5 && high.expect("reached") > 1.5);
        assert!(
            found.to_string().contains("takes 1.50× the tokens"),
            "{found}"
        );
        // More parameters cannot make up for the data term.
        let small = BTreeMap::from([("N".to_owned(), 1e12), ("D".to_owned(), 1e8)]);
        let found = fitted
            .speedup(&small, &question("fast", "slow", Some("params")))
            .expect("asked");
        assert_eq!(found.factor, None);
        assert!(
            found
                .to_string()
                .contains("more than a million times the params"),
            "{found}"
        );
        assert!(!found.to_string().contains("not told apart"), "{found}");
        for (question, why) in [
            (question("faster", "slow", None), "one of fast, slow"),
            (
                question("fast", "slow", Some("flops")),
                "does not read `flops`",
            ),
        ] {
            let said = fitted.speedup(&at, &question).expect_err("refused");
            assert!(said.contains(why), "{said}");
        }
    }
}
