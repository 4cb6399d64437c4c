# `just check` is what CI runs.
check:
    .ci/run

# Formats everything.
fmt:
    cargo fmt

# Injects 230 faults at random moments of a grid and compares its results, bit by bit.
faults:
    cargo test --release --test faults -- --ignored --nocapture --skip slurm

# Injects 100 faults into grids on a Slurm of three nodes, which it starts on this machine, and has workers come to
# their time limit.
faults-cluster:
    cargo test --release --test faults -- --ignored --nocapture --test-threads 1 slurm

# Damages inputs of every kind for five minutes and says what the program made of them.
probe:
    cargo test --release --test probe -- --ignored --nocapture every_kind

# The README's figures, from the quickstart.
figure:
    cargo run --release -- run experiments/quickstart.yaml
    cp results/quickstart/figures/loss_by_share.png results/quickstart/figures/savings.png docs/figures/
