//! Columns for the axes of a grid that tables have none for.

use std::collections::{BTreeMap, BTreeSet};

/// Axes that tables of runs show by what came of them: N, P, R, D and the seed.
const SHOWN: [&str; 6] = [
    "params",
    "concept_share",
    "compression_ratio",
    "tokens",
    "flops",
    "seed",
];

/// The axis values of a run, as written.
type Values = BTreeMap<String, String>;

/// Columns for further axes.
pub(super) struct Columns {
    /// The axes' names and the widths of their columns.
    axes: Vec<(String, usize)>,
}

impl Columns {
    /// Makes a column for each axis whose values tell runs apart.
    pub(super) fn of<'a>(runs: impl Iterator<Item = &'a Values> + Clone) -> Self {
        let names: BTreeSet<&String> = runs
            .clone()
            .flat_map(BTreeMap::keys)
            .filter(|name| !SHOWN.contains(&name.as_str()))
            .collect();
        let axis = |name: &String| {
            let values: BTreeSet<&str> = runs.clone().map(|run| value(run, name)).collect();
            let width = values.iter().map(|value| value.chars().count());
            let width = width.max().unwrap_or(0).max(name.chars().count());
            (values.len() > 1).then(|| (name.clone(), width))
        };
        Self {
            axes: names.into_iter().filter_map(axis).collect(),
        }
    }

    /// Returns the names, as wide as their columns.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.axes
            .iter()
            .map(|(name, width)| format!("{name:<width$}"))
    }

    /// Writes a run's values in words, such as `learning_rate 0.003`.
    pub(super) fn words(&self, run: &Values) -> String {
        let names = self.axes.iter().map(|(name, _)| name);
        let words = names.filter_map(|name| {
            let last = name.rsplit('.').next().unwrap_or(name);
            Some(format!("{last} {}", run.get(name)?))
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Returns the values of a run, as wide as their columns.
    pub(super) fn values(&self, run: &Values) -> impl Iterator<Item = String> {
        self.axes
            .iter()
            .map(|(name, width)| format!("{:<width$}", value(run, name)))
    }
}

fn value<'a>(run: &'a Values, name: &str) -> &'a str {
    run.get(name).map_or("-", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_that_varies_has_a_column_and_one_that_does_not_has_none() {
        let run = |values: &[(&str, &str)]| -> Values {
            values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let runs = [
            run(&[
                ("params", "1M"),
                ("batch", "16"),
                ("learning_rate", "0.003"),
            ]),
            run(&[("params", "2M"), ("batch", "16"), ("learning_rate", "0.01")]),
            run(&[("params", "2M"), ("batch", "16")]),
        ];
        let columns = Columns::of(runs.iter());
        assert_eq!(columns.names().collect::<Vec<_>>(), ["learning_rate"]);
        assert_eq!(
            columns.values(&runs[0]).collect::<Vec<_>>(),
            ["0.003        "]
        );
        assert_eq!(
            columns.values(&runs[2]).collect::<Vec<_>>(),
            ["-            "]
        );
        assert_eq!(columns.words(&runs[1]), "learning_rate 0.01");
        assert_eq!(columns.words(&runs[2]), "");
        assert_eq!(Columns::of(runs[..1].iter()).names().count(), 0);
    }
}
