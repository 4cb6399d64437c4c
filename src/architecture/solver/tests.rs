//! Declared N and P are reached, or the closest possible is named.

use super::*;
use proptest::prelude::*;

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

proptest! {
    #[test]
    fn what_is_solved_is_within_tolerance(
        log_n in 5.3f64..9.5, share in 0.2f64..0.8, dense in any::<bool>()
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
