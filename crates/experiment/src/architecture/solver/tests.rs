//! Declared N and P are reached, or the closest possible is named.

use super::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn reached(architecture: &Architecture) -> (f64, f64) {
    let params = architecture.params();
    (params.non_embedding() as f64, params.concept_share())
}

#[test]
fn every_cell_of_the_shipped_grid_is_reached() {
    for params in [
        100_000,
        200_000,
        400_000,
        800_000,
        274_000_000,
        468_000_000,
        834_000_000,
    ] {
        for share in [0.3, 0.5, 0.7] {
            let shape = ShapeSettings::default()
                .solve_dlcm(params, share, 4.0, 1024)
                .unwrap_or_else(|error| panic!("{error}"));
            let (n, p) = reached(&shape);
            assert!(
                (n / params as f64 - 1.0).abs() <= PARAMS_TOLERANCE,
                "{n} {params}"
            );
            assert!((p - share).abs() <= SHARE_TOLERANCE, "{p} {share}");
        }
    }
}

#[test]
fn impossible_shapes_name_the_closest() {
    let settings = ShapeSettings {
        head_size: Some(128),
        ..ShapeSettings::default()
    };
    let error = settings
        .solve_dlcm(100_000, 0.5, 4.0, 256)
        .expect_err("too small");
    assert!(error.to_string().contains("smaller `head_size`"), "{error}");
    let error = ShapeSettings {
        d_token: Some(33),
        ..ShapeSettings::default()
    }
    .solve_dlcm(400_000, 0.5, 4.0, 256)
    .expect_err("33 is no multiple of 16");
    assert!(matches!(error, ShapeError::WidthNotHeads { .. }));
}

#[test]
fn pinned_widths_and_depths_are_kept() {
    let settings = ShapeSettings {
        head_size: Some(32),
        d_token: Some(64),
        encoder_layers: Some(3),
        decoder_layers: Some(2),
        ..ShapeSettings::default()
    };
    let Ok(Architecture::Dlcm(shape)) = settings.solve_dlcm(600_000, 0.5, 4.0, 256) else {
        panic!("no shape")
    };
    assert_eq!(
        (
            shape.encoder.width,
            shape.encoder.layers,
            shape.decoder.layers
        ),
        (64, 3, 2)
    );
}

#[test]
fn the_largest_model_of_the_paper_is_what_its_n_and_p_give() {
    let Ok(Architecture::Dlcm(shape)) =
        ShapeSettings::default().solve_dlcm(2_095_000_000, 0.793, 4.0, 100_000)
    else {
        panic!("no shape")
    };
    let stacks = [&shape.encoder, &shape.backbone, &shape.decoder];
    let found = stacks.map(|stack| (stack.layers, stack.width, stack.ffn));
    // Table 3: 10 + 16 + 6 blocks, 1536 and 3072 wide.
    assert_eq!(found, [(10, 1536, 4096), (16, 3072, 8192), (6, 1536, 4096)]);
}

#[test]
fn what_is_fixed_of_a_shape_is_kept_for_every_p() {
    for share in [0.3, 0.5, 0.7] {
        let settings = ShapeSettings {
            backbone_layers: Some(5),
            head_size: Some(8),
            ..ShapeSettings::default()
        };
        let shape = settings.solve_dlcm(300_000, share, 4.0, 256);
        let (token, Some(concept)) = levels(&shape.expect("solvable")) else {
            panic!("no concepts")
        };
        // As wide as five blocks of half of N are; 8/3 at P = 0.5.
        assert_eq!((concept.layers, concept.width), (5, 56), "{share}");
        assert!(token.width.is_multiple_of(8));
    }
}

#[test]
fn widths_change_only_where_those_of_n_cannot_reach_p() {
    let settings = ShapeSettings::default();
    let widths = |share: f64| {
        let shape = settings.solve_dlcm(50_000, share, 4.0, 30);
        let (token, concept) = levels(&shape.expect("solvable"));
        (token.width, concept.map(|level| level.width))
    };
    for share in [0.1, 0.15, 0.3, 0.6, 0.8] {
        assert_eq!(widths(share), (24, Some(32)), "{share}");
    }
    // A single backbone block of width 32 is more than a twentieth, and two token-level blocks of
    // width 24 are more than a tenth.
    assert!(widths(0.05).1 < Some(32));
    assert!(widths(0.9).0 < 24);
}

#[test]
fn models_of_tokens_alone_are_split_dense_ones() {
    let settings = ShapeSettings::default();
    for params in [20_000, 50_000, 200_000, 1_000_000_000] {
        let (encoder, decoder) = settings.solve_tokens(params).expect("solvable");
        let whole = encoder.params() + decoder.params() + 3 * encoder.width as u64;
        let off = (whole as f64 / params as f64 - 1.0).abs();
        assert!(off <= PARAMS_TOLERANCE, "{whole} {params}");
        let split = encoder.layers as f64 / (encoder.layers + decoder.layers) as f64;
        assert!(
            (split - 0.625).abs() < 0.13 && decoder.layers > 0,
            "{split}"
        );
        let dense = settings.solve_dense(params, 30).expect("solvable");
        let level = levels(&dense).0;
        assert_eq!(
            (level.width, level.layers),
            (encoder.width, encoder.layers + decoder.layers)
        );
    }
}

/// The levels of a DLCM of the default settings.
fn solved(params: u64, share: f64) -> Result<(Level, Level), TestCaseError> {
    let shape = ShapeSettings::default().solve_dlcm(params, share, 4.0, 30);
    let shape = shape.map_err(|error| TestCaseError::fail(error.to_string()))?;
    match levels(&shape) {
        (token, Some(concept)) => Ok((token, concept)),
        _ => Err(TestCaseError::fail("a DLCM has concepts")),
    }
}

proptest! {
    #[test]
    fn p_moves_depths_and_nothing_else(log_n in 4.7f64..11.0, low in 0.2f64..0.8, up in 0.0f64..0.6) {
        let params = 10f64.powf(log_n) as u64;
        // Of small models few widths serve all P: those of some N only up to 0.75.
        let most = if params < 200_000 { 0.75 } else { 0.8 };
        let (low, high) = (low.min(most), (low + up).min(most));
        let ((token, concept), (other_token, other_concept)) =
            (solved(params, low)?, solved(params, high)?);
        prop_assert_eq!(token.width, other_token.width);
        prop_assert_eq!(concept.width, other_concept.width);
        prop_assert!(token.layers >= other_token.layers, "{:?} {:?}", token, other_token);
        prop_assert!(concept.layers <= other_concept.layers, "{:?} {:?}", concept, other_concept);
        for level in [token, concept, other_token, other_concept] {
            let ratio = level.feed_forward();
            // At small N few blocks leave much to the feed-forward width.
            let least = if params < 1_000_000 { 0.5 } else { 4.0 / 3.0 };
            prop_assert!((least..16.0 / 3.0).contains(&ratio), "{} {:?}", ratio, level);
        }
    }

    #[test]
    fn proportions_move_smoothly_with_n(log_n in 4.7f64..11.5, share in 0.2f64..0.8) {
        let params = 10f64.powf(log_n);
        let settings = ShapeSettings::default();
        let ((token, concept), (next_token, next_concept)) =
            (solved(params as u64, share)?, solved((1.1 * params) as u64, share)?);
        // A step of the lattice is a quarter of a width of 16, and a sixteenth of one above 64.
        for (width, next) in [(token.width, next_token.width), (concept.width, next_concept.width)] {
            let step = (width / 8).max(if params < 200_000.0 { 12 } else { 8 });
            // Where few widths serve all P, the next N may have to take a step back.
            let back = if params < 200_000.0 { step } else { 0 };
            prop_assert!(next + back >= width && next <= width + step, "{} {}", width, next);
        }
        let ratio = concept.width as f64 / token.width as f64;
        prop_assert!((1.0..2.5).contains(&ratio), "{} {}", token.width, concept.width);
        let shape = settings.solve_dlcm(params as u64, share, 4.0, 30);
        let straying = settings.straying(&shape.map_err(|e| TestCaseError::fail(e.to_string()))?);
        let most = if params < 200_000.0 { 0.3 } else { 0.12 };
        prop_assert!(straying.token.width.abs() < most, "{:?}", straying);
        let dense = |params: f64| {
            let shape = settings.solve_dense(params as u64, 30);
            shape.map(|shape| levels(&shape).0).map_err(|e| TestCaseError::fail(e.to_string()))
        };
        let (level, next) = (dense(params)?, dense(1.1 * params)?);
        prop_assert!(next.width >= level.width && next.width <= level.width + (level.width / 8).max(4));
        prop_assert!(level.layers.abs_diff(next.layers) <= 1 + level.layers / 5);
    }

    #[test]
    fn what_is_solved_is_within_tolerance(
        log_n in 4.4f64..12.0, share in 0.1f64..0.85, dense in any::<bool>()
    ) {
        let params = 10f64.powf(log_n) as u64;
        let settings = ShapeSettings::default();
        let shape = if dense {
            settings.solve_dense(params, 1000)
        } else {
            settings.solve_dlcm(params, share, 4.0, 1000)
        };
        let shape = shape.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let (n, p) = reached(&shape);
        prop_assert!((n / params as f64 - 1.0).abs() <= PARAMS_TOLERANCE);
        if let Architecture::Dlcm(dlcm) = &shape {
            prop_assert!((p - share).abs() <= SHARE_TOLERANCE);
            for stack in [&dlcm.encoder, &dlcm.backbone, &dlcm.decoder] {
                prop_assert!(stack.layers >= 1);
                prop_assert_eq!(stack.heads * stack.head_size, stack.width);
                prop_assert_eq!(stack.heads % stack.kv_heads, 0);
            }
            prop_assert!(dlcm.backbone.width >= dlcm.encoder.width);
        }
    }
}

#[test]
fn shapes_are_those_of_earlier_versions() {
    let default = ShapeSettings::default;
    let settings = [
        default(),
        ShapeSettings {
            head_size: Some(32),
            query_group: 4,
            ..default()
        },
        ShapeSettings {
            concept_width_ratio: Some(1.0),
            pooling: Pooling::Boundary,
            ..default()
        },
        ShapeSettings {
            query_group: 3,
            boundaries: BoundaryRule::Fixed,
            ..default()
        },
        ShapeSettings {
            d_token: Some(64),
            ..default()
        },
        ShapeSettings {
            d_token: Some(96),
            d_concept: Some(128),
            head_size: Some(16),
            ..default()
        },
        ShapeSettings {
            backbone_layers: Some(5),
            dense_layers: Some(7),
            ..default()
        },
        ShapeSettings {
            encoder_layers: Some(3),
            decoder_layers: Some(2),
            ..default()
        },
        ShapeSettings {
            decoder_layers: Some(1),
            dense_width: Some(128),
            ..default()
        },
    ];
    let mut digest = Sha256::new();
    for settings in &settings {
        let is_narrow = settings.d_token.or(settings.dense_width).is_some();
        let most = if is_narrow {
            100_000_000
        } else {
            1_000_000_000_000
        };
        let sizes = (3..12).flat_map(|k| [10, 22, 46].map(|m| m * 10_u64.pow(k)));
        for params in sizes.filter(|params| *params <= most) {
            let shares = [0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95];
            let of_concepts = shares.map(|share| settings.solve_dlcm(params, share, 4.0, 256));
            let without = [
                settings.solve_dense(params, 256),
                settings.solve_token_only(params, 256),
            ];
            for shape in of_concepts.iter().chain(&without) {
                // What was not there then is as it was.
                let shape = format!("{shape:?}").replace(", causal: Strict", "");
                digest.update(format!("{params} {shape}\n"));
            }
        }
    }
    // Runs keep their names only as long as they keep their shapes.
    assert_eq!(
        crate::digest::hex(&digest.finalize()[..8]),
        "a4b634bb992fd7b0"
    );
}
