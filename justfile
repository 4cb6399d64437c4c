# `just check` is what CI runs.
check:
    .ci/run

# Formats everything.
fmt:
    cargo fmt
