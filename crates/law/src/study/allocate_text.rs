//! An allocation in words, for a terminal.

use super::allocate::{AllocationReport, BestSetting, RegionReport, SavingReport};
use super::fit_text::write_void;
use crate::analysis::{Attribution, Maybe, saved};
use crate::fit::allocation::Variable;
use experiment::quantity::human;
use std::fmt;

/// Prints a quantity as people write it.
fn shown(name: &str, value: f64) -> String {
    match name {
        "params" | "tokens" => human(value),
        "loss" => format!("{value:.4}"),
        _ => format!("{value:.3}"),
    }
}

fn interval(region: Option<&RegionReport>, name: &str) -> String {
    let ends = region.and_then(|region| region.intervals.get(name));
    ends.map_or_else(String::new, |[low, high]| {
        format!("[{}, {}]", shown(name, *low), shown(name, *high))
    })
}

impl fmt::Display for AllocationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_void(f, &self.warnings)?;
        let training = self
            .budget
            .training
            .map(|flops| format!("{flops:.3e} training FLOPs"));
        let inference = self
            .budget
            .inference_per_token
            .map(|flops| format!("{flops:.3e} FLOPs per generated token"));
        let served = (self.budget.served_tokens > 0.0).then(|| {
            format!(
                "{} tokens served from them",
                human(self.budget.served_tokens)
            )
        });
        let parts: Vec<String> = [training, served, inference]
            .into_iter()
            .flatten()
            .collect();
        writeln!(
            f,
            "Best setting for {} ({}), law {}\n",
            parts.join(", "),
            self.cost,
            self.law
        )?;
        self.write_optimum(f)?;
        if let Some(region) = &self.region {
            writeln!(
                f,
                "  95% region from {} resamples{}; not knowing the law better costs {:.4} nats per \
                 token on average, at most {:.4} in 95% of them",
                region.draws,
                match region.failed {
                    0 => String::new(),
                    failed => format!(" ({failed} without an optimum)"),
                },
                region.expected_regret,
                region.regret_95
            )?;
        }
        if let Some(saving) = &self.saving {
            write_saving(f, saving)?;
        }
        if !self.frontier.is_empty() {
            self.write_frontier(f)?;
        }
        if !self.warnings.is_empty() {
            writeln!(f, "\nWarnings")?;
        }
        for warning in &self.warnings {
            writeln!(f, "  ! {warning}")?;
        }
        Ok(())
    }
}

impl AllocationReport {
    fn write_optimum(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BestSetting {
            setting,
            loss,
            flops,
            inference_flops,
        } = &self.optimum;
        for (variable, letter) in Variable::ALL.into_iter().zip(["N*", "D*", "P*", "R*"]) {
            // A law that knows neither P nor R is one of dense models.
            if setting.concept_share == 0.0 && variable >= Variable::ConceptShare {
                continue;
            }
            let name = variable.name();
            let range = self.domain.get(variable);
            let bound = self.active_bounds.iter().any(|active| active == name);
            let open = self.choice.undetermined.iter().any(|open| open == name);
            let remark = match (range.is_fixed(), open, bound) {
                (true, ..) => "  fixed",
                (_, true, _) => "  not determined by these runs",
                (.., true) => "  on its bound",
                _ => "",
            };
            let value = if open {
                "open".to_owned()
            } else {
                shown(name, setting.get(variable))
            };
            let line = format!(
                "  {letter:<5} {name:<18} {value:>10}  {:<22}{remark}",
                interval(self.region.as_ref(), name)
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        let line = format!(
            "  {:<5} {:<18} {loss:>10.4}  {}",
            "loss",
            "nats per token",
            interval(self.region.as_ref(), "loss")
        );
        writeln!(f, "{}", line.trim_end())?;
        writeln!(
            f,
            "  cost  {flops:.4e} FLOPs to train, {inference_flops:.4e} per generated token"
        )
    }

    fn write_frontier(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A law that knows neither P nor R is one of dense models.
        let dense = self.optimum.setting.concept_share == 0.0;
        let concepts = |share: &str, ratio: &str| {
            if dense {
                String::new()
            } else {
                format!("  {share:>6}  {ratio:>6}")
            }
        };
        writeln!(
            f,
            "\n  {:>9}  {:>8}  {:>8}{}  {:>7}",
            "FLOPs",
            "N*",
            "D*",
            concepts("P*", "R*"),
            "loss"
        )?;
        for point in &self.frontier {
            let setting = &point.optimum.setting;
            let far: Vec<&str> = point
                .extrapolation
                .iter()
                .map(|e| e.column.as_str())
                .collect();
            let remark = match (far.is_empty(), point.active_bounds.is_empty()) {
                (false, _) => format!("  extrapolated ({})", far.join(", ")),
                (true, false) => format!("  on a bound ({})", point.active_bounds.join(", ")),
                (true, true) => String::new(),
            };
            writeln!(
                f,
                "  {:>9.1e}  {:>8}  {:>8}{}  {:>7.4}{remark}",
                point.optimum.flops,
                human(setting.params),
                human(setting.tokens),
                concepts(
                    &format!("{:.3}", setting.concept_share),
                    &format!("{:.2}", setting.compression_ratio)
                ),
                point.optimum.loss
            )?;
        }
        Ok(())
    }
}

fn write_saving(f: &mut fmt::Formatter<'_>, saving: &SavingReport) -> fmt::Result {
    if let Some(attribution) = &saving.attribution {
        writeln!(f, "  {}", attribution.words)?;
    }
    let own = match saving.attribution.as_ref().map(Attribution::may_be_claimed) {
        Some(false) => "  (not the concepts')",
        _ => "",
    };
    match (&saving.dense, &saving.headline) {
        (Maybe::Known(savings), Some(point)) => writeln!(
            f,
            "  saved against {} N = {}, D = {} at its loss{}: {}{own}",
            saving.against,
            human(point.baseline),
            human(savings.tokens),
            point
                .target_loss
                .map_or_else(String::new, |loss| format!(" {loss:.4}")),
            saved(point)
        ),
        (Maybe::Unknown(why), _) => {
            writeln!(
                f,
                "  FLOPs saved against {}: not known: {why}",
                saving.against
            )
        }
        (Maybe::Known(_), None) => Ok(()),
    }
}
