//! The `orchestrator` program.

// Training allocates and frees the same large blocks every step: mimalloc keeps their pages,
// where the system's allocator gives them back and the kernel clears them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // `cuda:N` is looked up in the order of the bus, as NVIDIA's library lists GPUs; by itself CUDA puts
    // the fastest first.
    // SAFETY: nothing else runs yet.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
    }
    orchestrator::cli::main()
}
