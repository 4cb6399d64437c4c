//! The `orchestrator` program.

// Training allocates and frees the same large blocks every step: mimalloc keeps their pages,
// where the system's allocator gives them back and the kernel clears them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    orchestrator::cli::main()
}
