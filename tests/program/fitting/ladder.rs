//! A published fit in two steps, repeated: a ladder of small models foretells what large ones answer.
//!
//! Reads the tables that `scripts/olmo_ladder.py` makes from a clone of OLMo-ladder, in the folder `OLMO_LADDER`; without
//! it the test says so and passes.

use crate::fitting::desk::number;
use crate::support::Desk;
use std::path::PathBuf;

/// By task: bits per byte and accuracy that the authors' own fits, from many starts of SciPy's, predict for 7B-4T and for
/// 13B-5T. Their printed errors follow from these.
const FORETOLD: [(&str, [f64; 2], [f64; 2]); 8] = [
    ("mmlu", [0.7869441, 0.4838139], [0.7501562, 0.5126798]),
    ("hellaswag", [0.6712632, 0.8252314], [0.6531766, 0.8530361]),
    (
        "arc_challenge",
        [0.7941331, 0.5149603],
        [0.7833239, 0.5267099],
    ),
    ("arc_easy", [0.6037645, 0.7658832], [0.5931046, 0.7724156]),
    ("piqa", [0.8903253, 0.812202], [0.8747949, 0.8208042]),
    ("csqa", [0.7123459, 0.7571231], [0.6617283, 0.7760887]),
    ("socialiqa", [1.004462, 0.5874267], [0.9915737, 0.5994822]),
    ("openbookqa", [1.284767, 0.4416879], [1.275007, 0.4486477]),
];

#[test]
fn a_ladder_foretells_what_its_authors_say() {
    let Some(folder) = std::env::var_os("OLMO_LADDER").map(PathBuf::from) else {
        eprintln!(
            "SKIPPED: OLMO_LADDER names no folder with the tables of scripts/olmo_ladder.py, so nothing was compared with \
             the authors' predictions"
        );
        return;
    };
    let desk = Desk::new();
    let path = |name: &str| folder.join(name).display().to_string();
    let (ladder, checkpoints) = (path("ladder.csv"), path("checkpoints.csv"));
    for (task, small, large) in FORETOLD {
        let then = format!(
            "{task}_accuracy = b - a*sigmoid(k*({task}_bpb - m)) where a in 0..1, b in 0..1, k in 0..100, m in 0..5"
        );
        let target = format!("{task}_bpb");
        let args = [
            "predict",
            "--csv",
            &ladder,
            "--where",
            "split = train",
            "--target",
            &target,
            "--law",
            "E + A/N^alpha + B/D^beta",
            "--at",
            "N=6887575552,D=3945065873408",
            "--at",
            "N=13202396160,D=5000088518656",
            "--then",
            &then,
            "--then-csv",
            &checkpoints,
            "--bootstrap",
            "0",
            "--json",
        ];
        let told = desk.json(&args);
        for (place, [bits, accuracy]) in [small, large].into_iter().enumerate() {
            let said = &told["scores"][place];
            let (from, score) = (number(&said["from"]), number(&said["score"]));
            assert!(
                (from / bits - 1.0).abs() < 2e-6,
                "{task}: {from} for {bits}"
            );
            assert!(
                (score / accuracy - 1.0).abs() < 2e-5,
                "{task}: {score} for {accuracy}"
            );
        }
    }
}
