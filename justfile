# `just check` is what CI runs.
check:
    .ci/run

# Formats everything.
fmt:
    cargo fmt

# Injects 220 faults at random moments of a grid and compares its results, bit by bit.
faults:
    cargo test --release --test faults -- --ignored --nocapture

# The README's figure, from about a megabyte of English; half an hour on two cores.
figure text:
    cargo run --release -- run experiments/text.yaml --set data.text={{text}}
    cp results/text/figures/loss_by_share.png docs/figures/
