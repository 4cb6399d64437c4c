//! The coordinate check of muP: activations stay as large as they are while width grows.
//!
//! Models of growing width and equal depth take a few steps on the same batch; the size of their
//! activations is measured before each. With learning rates and variances scaled as they should
//! be, it does not grow with width.
//!
//! # Source
//! Tensor Programs V (Yang et al., arXiv 2203.03466), appendix D.1, the coordinate check.

use super::TrainError;
use super::optimizer::Optimizer;
use super::replay::Replays;
use super::session::widths;
use super::step::Settings;
use super::timing::random_batch;
use burn::module::Module;
use experiment::architecture::Architecture;
use experiment::architecture::solver::ShapeSettings;
use experiment::recipe::Recipe;
use network::{Network, Site, device};

/// How large activations were somewhere, at some time, at some width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coordinate {
    /// d_token; d_concept is twice that.
    pub width: usize,
    /// Optimizer steps taken before.
    pub step: u64,
    /// Where.
    pub site: Site,
    /// Root mean square.
    pub size: f64,
}

/// Width of a head in the models that are checked.
pub const HEAD_SIZE: usize = 16;
/// Tokens in a sequence.
const SEQ_LEN: usize = 64;
/// Vocabulary.
const VOCAB: usize = 64;
/// Sequences in a step.
const ROWS: usize = 4;
/// Tokens per concept.
const RATIO: f64 = 4.0;

/// Trains a model of each width for `steps` steps and measures its activations before the first
/// and after each.
///
/// # Errors
/// When the device is not available, or a width is no multiple of [`HEAD_SIZE`].
pub fn coordinates(
    widths: &[usize],
    steps: u64,
    recipe: &Recipe,
    device_name: &str,
) -> Result<Vec<Coordinate>, TrainError> {
    let mut found = Vec::new();
    for &width in widths {
        let architecture = architecture(width)?;
        let measured = check(&architecture, steps, recipe, device_name)?;
        found.extend(measured.into_iter().map(|(step, site, size)| Coordinate {
            width,
            step,
            site,
            size,
        }));
    }
    Ok(found)
}

fn architecture(width: usize) -> Result<Architecture, TrainError> {
    let settings = ShapeSettings {
        seq_len: SEQ_LEN,
        head_size: Some(HEAD_SIZE),
        query_group: 1,
        d_token: Some(width),
        d_concept: Some(2 * width),
        encoder_layers: Some(1),
        backbone_layers: Some(2),
        decoder_layers: Some(1),
        ..ShapeSettings::default()
    };
    Ok(settings.explicit_dlcm(RATIO, VOCAB)?)
}

fn check(
    architecture: &Architecture,
    steps: u64,
    recipe: &Recipe,
    device_name: &str,
) -> Result<Vec<(u64, Site, f64)>, TrainError> {
    let device = device::open(device_name)?.autodiff();
    let widths = widths(architecture);
    let multiplier = recipe.output_multiplier(widths.token);
    let settings = Settings {
        recipe,
        output_multiplier: multiplier,
        architecture,
        micro_batch: ROWS,
        device: &device,
    };
    // One batch for all steps: what moves is the weights.
    let (sequences, decision) = random_batch(architecture, ROWS, 0, 1.0 / RATIO);
    let mut network = Network::new(architecture, 0, &device).train();
    let mut optimizer = Optimizer::default();
    let mut replays = Replays::default();
    let mut found = Vec::new();
    for step in 0..=steps {
        let (inputs, _) = sequences.tensors(0, ROWS, &device.clone().inner());
        let sizes = network
            .valid()
            .activation_sizes(inputs, &decision, multiplier);
        found.extend(sizes.into_iter().map(|(site, size)| (step, site, size)));
        if step < steps {
            let passes = settings.run(&network, &sequences, &decision, &mut replays);
            let gradients = passes.gradients;
            (network, _) = optimizer.step(network, gradients, recipe, widths, step + 1, 1.0);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of a check: enough for wrong scales to show.
    const STEPS: u64 = 6;

    /// The factor by which activations grow from the smallest to the largest of three widths.
    fn growth(recipe: &Recipe, site: Site) -> f64 {
        let found = coordinates(&[32, 64, 128], STEPS, recipe, "cpu").expect("a device");
        let size = |width| {
            let at = |c: &&Coordinate| (c.width, c.step, c.site) == (width, STEPS, site);
            found.iter().find(at).expect("measured").size
        };
        size(128) / size(32)
    }

    #[test]
    fn activations_stay_as_large_as_width_grows() {
        for site in Site::ALL {
            let growth = growth(&Recipe::default(), site);
            // Logits start at 1/width and come from below.
            let least = if site == Site::Logits { 0.2 } else { 0.8 };
            assert!(
                (least..1.25).contains(&growth),
                "{site:?} grows by {growth}"
            );
        }
    }

    #[test]
    fn rates_that_do_not_fall_with_width_are_noticed() {
        // As if the base were as wide as each model: no group scales.
        let growth = |width| {
            let mut recipe = Recipe::default();
            recipe.rates.base_width = width;
            recipe.rates.token *= 8.0;
            recipe.rates.concept *= 8.0;
            let found = coordinates(&[width], STEPS, &recipe, "cpu").expect("a device");
            let at = |c: &&Coordinate| (c.step, c.site) == (STEPS, Site::Decoder);
            found.iter().find(at).expect("measured").size
        };
        let growth = growth(128) / growth(32);
        assert!(growth > 1.5, "{growth}");
    }
}
