//! Measured runs as named columns, with clusters, weights and every exclusion on record.
//!
//! Owns what a fit may look at. Refuses to guess: a bad value is an error that names its row and
//! column, unless the caller excludes it, and then the exclusion is recorded with its reason.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Column of observations that numbers how rows differ in what laws do not read: rows that differ in it
/// are no replicates.
pub const VARIANT: &str = "other columns";

/// Rows of named columns; every row belongs to a cluster (a run) and carries a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Observations {
    columns: Vec<(String, Vec<f64>)>,
    clusters: Vec<usize>,
    cluster_names: Vec<String>,
    weights: Option<Vec<f64>>,
    source_rows: Vec<usize>,
    exclusions: Vec<Exclusion>,
}

/// A row that is not fitted, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    /// Row of the original data, counted from 0.
    pub row: usize,
    /// Why it is left out.
    pub reason: String,
}

/// What is wrong with the data.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ObservationError {
    /// There are no columns or no rows.
    #[error("there is nothing to fit: no {0}")]
    Empty(&'static str),
    /// Two columns have one name.
    #[error("column `{0}` appears twice")]
    DuplicateColumn(String),
    /// A column, the clusters or the weights have the wrong length.
    #[error("{what} has {found} rows where {expected} are expected")]
    Length {
        /// What has the wrong length.
        what: String,
        /// Its length.
        found: usize,
        /// The other columns' length.
        expected: usize,
    },
    /// The law needs a column the data do not have.
    #[error("column `{name}` is missing; there are {}", available.join(", "))]
    MissingColumn {
        /// The missing column.
        name: String,
        /// The columns there are.
        available: Vec<String>,
    },
    /// A value is not finite or outside the range in which the law is defined.
    #[error("row {}: `{column}` is {value}, which must be {expected}", row + 1)]
    Value {
        /// Row of the original data, counted from 0 (the message counts from 1).
        row: usize,
        /// The column.
        column: String,
        /// The value found.
        value: f64,
        /// What would be right.
        expected: String,
    },
    /// There are fewer different rows than parameters.
    #[error(
        "{distinct} different settings ({rows} rows) cannot determine the {parameters} parameters \
         of `{law}`; at least {parameters} are needed"
    )]
    TooFew {
        /// The law.
        law: String,
        /// Rows given.
        rows: usize,
        /// Rows with different inputs.
        distinct: usize,
        /// Parameters of the law.
        parameters: usize,
    },
}

/// One row, for predicates.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    observations: &'a Observations,
    index: usize,
}

impl Row<'_> {
    /// Returns the value in a column, or `None` when there is no such column.
    pub fn get(&self, column: &str) -> Option<f64> {
        self.observations
            .column(column)
            .map(|values| values[self.index])
    }

    /// Returns the name of the row's cluster.
    pub fn cluster(&self) -> &str {
        &self.observations.cluster_names[self.observations.clusters[self.index]]
    }
}

impl Observations {
    /// Builds observations from columns; every row is its own cluster until told otherwise.
    ///
    /// # Units
    /// The standard columns are `params` and `unique_params` in parameters, `tokens` in tokens,
    /// `flops` in floating-point operations, `loss` in nats per token, `compression_ratio` in
    /// tokens per concept, `concept_share` a share.
    ///
    /// # Errors
    /// [`ObservationError`] when there are no columns or rows, or lengths or names clash.
    pub fn new<N, I>(columns: I) -> Result<Self, ObservationError>
    where
        N: Into<String>,
        I: IntoIterator<Item = (N, Vec<f64>)>,
    {
        let columns: Vec<(String, Vec<f64>)> = columns
            .into_iter()
            .map(|(name, values)| (name.into(), values))
            .collect();
        let rows = columns
            .first()
            .ok_or(ObservationError::Empty("columns"))?
            .1
            .len();
        if rows == 0 {
            return Err(ObservationError::Empty("rows"));
        }
        for (i, (name, values)) in columns.iter().enumerate() {
            check_length(&format!("column `{name}`"), values.len(), rows)?;
            if columns[..i].iter().any(|(other, _)| other == name) {
                return Err(ObservationError::DuplicateColumn(name.clone()));
            }
        }
        Ok(Self {
            columns,
            clusters: (0..rows).collect(),
            cluster_names: (0..rows).map(|row| (row + 1).to_string()).collect(),
            weights: None,
            source_rows: (0..rows).collect(),
            exclusions: Vec::new(),
        })
    }

    /// Assigns every row to the cluster its label names; one label is one run.
    ///
    /// # Errors
    /// [`ObservationError::Length`] when there is not one label for every row.
    pub fn with_clusters<T: AsRef<str>>(mut self, labels: &[T]) -> Result<Self, ObservationError> {
        check_length("the clusters", labels.len(), self.len())?;
        let mut known: HashMap<&str, usize> = HashMap::new();
        self.cluster_names.clear();
        for (row, label) in labels.iter().enumerate() {
            let label = label.as_ref();
            let next = known.len();
            let id = *known.entry(label).or_insert(next);
            if id == next {
                self.cluster_names.push(label.to_owned());
            }
            self.clusters[row] = id;
        }
        Ok(self)
    }

    /// Gives every row a weight; a row of weight 2 counts as two.
    ///
    /// # Errors
    /// [`ObservationError`] when a weight is missing, negative or not finite.
    pub fn with_weights(mut self, weights: Vec<f64>) -> Result<Self, ObservationError> {
        check_length("the weights", weights.len(), self.len())?;
        if let Some(row) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
            return Err(ObservationError::Value {
                row: self.source_rows[row],
                column: "weight".into(),
                value: weights[row],
                expected: "finite and at least 0".into(),
            });
        }
        self.weights = Some(weights);
        Ok(self)
    }

    /// Leaves out the rows for which `predicate` holds and records the reason.
    #[must_use]
    pub fn exclude(self, reason: &str, predicate: impl Fn(Row<'_>) -> bool) -> Self {
        let keep: Vec<bool> = (0..self.len())
            .map(|index| {
                !predicate(Row {
                    observations: &self,
                    index,
                })
            })
            .collect();
        self.keep(&keep, reason)
    }

    /// Leaves out the rows that `keep` marks false and records the reason.
    #[must_use]
    pub fn keep(mut self, keep: &[bool], reason: &str) -> Self {
        fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
            let mut flags = keep.iter();
            values.retain(|_| flags.next().copied().unwrap_or(true));
        }
        for (row, kept) in self.source_rows.iter().zip(keep) {
            if !kept {
                self.exclusions.push(Exclusion {
                    row: *row,
                    reason: reason.to_owned(),
                });
            }
        }
        for (_, values) in &mut self.columns {
            retain(values, keep);
        }
        retain(&mut self.clusters, keep);
        retain(&mut self.source_rows, keep);
        if let Some(weights) = &mut self.weights {
            retain(weights, keep);
        }
        self
    }

    /// Adds a column, or puts it in place of the one of that name.
    ///
    /// # Panics
    /// When it has another length.
    #[must_use]
    pub fn with_column(mut self, name: &str, values: Vec<f64>) -> Self {
        assert_eq!(
            values.len(),
            self.len(),
            "column `{name}` has a value a row"
        );
        match self.columns.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = values,
            None => self.columns.push((name.to_owned(), values)),
        }
        self
    }

    /// Returns the number of rows that are fitted.
    pub fn len(&self) -> usize {
        self.source_rows.len()
    }

    /// Returns whether no row is left.
    pub fn is_empty(&self) -> bool {
        self.source_rows.is_empty()
    }

    /// Returns a column.
    pub fn column(&self, name: &str) -> Option<&[f64]> {
        self.columns
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, values)| values.as_slice())
    }

    /// Returns a column, or the error that says which columns there are.
    ///
    /// # Errors
    /// [`ObservationError::MissingColumn`].
    pub fn required(&self, name: &str) -> Result<&[f64], ObservationError> {
        self.column(name)
            .ok_or_else(|| ObservationError::MissingColumn {
                name: name.to_owned(),
                available: self.names().map(str::to_owned).collect(),
            })
    }

    /// Returns the names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the cluster of every row, as an index that is stable under exclusions.
    pub fn clusters(&self) -> &[usize] {
        &self.clusters
    }

    /// Returns the number of clusters that still have rows.
    pub fn n_clusters(&self) -> usize {
        let mut seen = vec![false; self.cluster_names.len()];
        self.clusters.iter().for_each(|c| seen[*c] = true);
        seen.iter().filter(|s| **s).count()
    }

    /// Returns the name of a cluster.
    pub fn cluster_name(&self, cluster: usize) -> &str {
        &self.cluster_names[cluster]
    }

    /// Returns the weights, when rows are weighted.
    pub fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// Returns, for every fitted row, its row of the original data, counted from 0.
    pub fn source_rows(&self) -> &[usize] {
        &self.source_rows
    }

    /// Returns the rows left out, with reasons.
    pub fn exclusions(&self) -> &[Exclusion] {
        &self.exclusions
    }
}

fn check_length(what: &str, found: usize, expected: usize) -> Result<(), ObservationError> {
    if found == expected {
        return Ok(());
    }
    Err(ObservationError::Length {
        what: what.to_owned(),
        found,
        expected,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn three() -> Observations {
        Observations::new([
            ("params", vec![1.0, 2.0, 3.0]),
            ("loss", vec![3.0, 2.5, 2.2]),
        ])
        .unwrap()
    }

    #[test]
    fn exclusions_are_recorded_with_their_original_rows() {
        let kept = three()
            .exclude("too small", |row| row.get("params") < Some(1.5))
            .exclude("too good", |row| row.get("loss") < Some(2.3));
        assert_eq!(kept.column("params"), Some(&[2.0][..]));
        assert_eq!(kept.source_rows(), [1]);
        let reasons: Vec<(usize, &str)> = kept
            .exclusions()
            .iter()
            .map(|e| (e.row, e.reason.as_str()))
            .collect();
        assert_eq!(reasons, [(0, "too small"), (2, "too good")]);
    }

    #[test]
    fn rows_with_one_label_are_one_cluster() {
        let observations = three().with_clusters(&["a", "b", "a"]).unwrap();
        assert_eq!(observations.clusters(), [0, 1, 0]);
        assert_eq!(observations.n_clusters(), 2);
        assert_eq!(observations.cluster_name(1), "b");
    }

    #[test]
    fn unequal_lengths_and_missing_columns_are_errors() {
        let unequal = Observations::new([("a", vec![1.0]), ("b", vec![1.0, 2.0])]);
        assert!(
            unequal
                .unwrap_err()
                .to_string()
                .contains("column `b` has 2 rows")
        );
        let missing = three().required("tokens").unwrap_err().to_string();
        assert!(
            missing.contains("tokens") && missing.contains("params, loss"),
            "{missing}"
        );
    }

    #[test]
    fn a_bad_weight_is_named() {
        let error = three()
            .with_weights(vec![1.0, f64::NAN, 1.0])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("row 2") && error.contains("weight"),
            "{error}"
        );
    }
}
