//! The figures: their names, and what is said about each.

use serde::{Deserialize, Serialize};

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Loss against P for each N and R, with the fitted curves and their bands.
    LossByShare,
    /// The best loss over P and R within the budget, with the optimum and its region.
    Allocation,
    /// FLOPs saved against the size of the dense baseline.
    Savings,
    /// Loss against N at equal training FLOPs.
    Isoflop,
    /// The best N, D, P and R along budgets.
    Frontier,
    /// Predicted against measured loss, with held-out runs marked.
    Predicted,
    /// What the laws leave against fitted loss, N, D, R and P.
    Residuals,
    /// The spread of the laws' parameters over resamples.
    Bootstrap,
    /// Training and held-out loss against tokens.
    Training,
    /// The same as means over the runs of each R.
    TrainingByRatio,
    /// Trunks with the branches that leave them and decay.
    Decay,
    /// Loss against learning rate at every width.
    Transfer,
    /// Realised against declared tokens per concept.
    RealisedRatio,
    /// Tokens per concept by content.
    Content,
    /// Loss by position inside a concept.
    Position,
    /// What hierarchical models gain over dense ones on tasks.
    Tasks,
    /// Measured training time against FLOPs.
    Time,
}

impl Figure {
    /// Every figure.
    pub const ALL: [Self; 17] = [
        Self::LossByShare,
        Self::Allocation,
        Self::Savings,
        Self::Isoflop,
        Self::Frontier,
        Self::Predicted,
        Self::Residuals,
        Self::Bootstrap,
        Self::Training,
        Self::TrainingByRatio,
        Self::Decay,
        Self::Transfer,
        Self::RealisedRatio,
        Self::Content,
        Self::Position,
        Self::Tasks,
        Self::Time,
    ];

    /// Returns its name: that of its files, without the ending.
    pub fn name(self) -> &'static str {
        self.about()[0]
    }

    /// Returns its title.
    pub fn title(self) -> &'static str {
        self.about()[1]
    }

    /// Returns what it shows, in one sentence.
    pub fn caption(self) -> &'static str {
        self.about()[2]
    }

    /// Finds a figure by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.name() == name)
    }

    /// Says whether it is drawn from what only runs that were trained here hold.
    pub(super) fn needs_trained_runs(self) -> bool {
        match self {
            Self::Training
            | Self::TrainingByRatio
            | Self::Decay
            | Self::Transfer
            | Self::Content
            | Self::Position
            | Self::Tasks
            | Self::Time => true,
            Self::LossByShare
            | Self::Allocation
            | Self::Savings
            | Self::Isoflop
            | Self::Frontier
            | Self::Predicted
            | Self::Residuals
            | Self::Bootstrap
            | Self::RealisedRatio => false,
        }
    }

    /// Its name, title and caption.
    fn about(self) -> [&'static str; 3] {
        match self {
            Self::LossByShare => [
                "loss_by_share",
                "Loss against concept share",
                "Held-out loss against P for each N and R, with the fitted law and its 95% band.",
            ],
            Self::Allocation => [
                "allocation",
                "Allocation of the budget",
                "The best loss that the budget reaches at each P and R, with the optimum and its \
                 region.",
            ],
            Self::Savings => [
                "savings",
                "FLOPs saved",
                "Training FLOPs saved at equal loss against the size of the dense baseline, with \
                 95% bands.",
            ],
            Self::Isoflop => [
                "isoflop",
                "Loss at equal compute",
                "Loss against N at equal training FLOPs by the fitted laws, with their valleys and 95% bands.",
            ],
            Self::Frontier => [
                "frontier",
                "Optimum along budgets",
                "The best N, D, P and R along budgets of training FLOPs by the DLCM law, with 95% bands.",
            ],
            Self::Predicted => [
                "predicted",
                "Predicted against measured loss",
                "Loss that the fitted laws predict against the measured one, with held-out runs marked.",
            ],
            Self::Residuals => [
                "residuals",
                "Residuals",
                "Measured above fitted loss against the fitted loss, N, D, R and P.",
            ],
            Self::Bootstrap => [
                "bootstrap",
                "Parameters over resamples",
                "How the parameters of the fitted laws spread over resamples of the runs.",
            ],
            Self::Training => [
                "training",
                "Training curves",
                "Smoothed training loss and held-out loss of every run against training tokens.",
            ],
            Self::TrainingByRatio => [
                "training_by_ratio",
                "Training curves by R",
                "Mean training loss over the runs of each R, with the range of the runs.",
            ],
            Self::Decay => [
                "decay",
                "Trunks and their decays",
                "Losses of each trunk at its stable rate and of the branches that leave it and decay.",
            ],
            Self::Transfer => [
                "transfer",
                "Learning rate against width",
                "Held-out loss against base learning rate at every size: under muP the best rate should not move.",
            ],
            Self::RealisedRatio => [
                "realised_ratio",
                "Realised tokens per concept",
                "How far the tokens per concept in training and in evaluation lie from the \
                 declared R.",
            ],
            Self::Content => [
                "content",
                "Tokens per concept by content",
                "Tokens per concept of different texts, against the declared R.",
            ],
            Self::Position => [
                "position",
                "Loss by position in a concept",
                "Mean loss by position inside a concept, and the gain over another run there.",
            ],
            Self::Tasks => [
                "tasks",
                "Tasks against dense models",
                "Bits per byte of right answers that hierarchical models save against dense ones, at equal inference \
                 FLOPs and at equal loss, with 95% intervals.",
            ],
            Self::Time => [
                "time",
                "Time against FLOPs",
                "Measured training time against training FLOPs, and throughput against N.",
            ],
        }
    }
}
