//! Compiles what libtorch has and its Rust bindings lack, with the feature `tch`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "tch")]
    libtorch();
}

#[cfg(feature = "tch")]
fn libtorch() {
    use std::path::{Path, PathBuf};

    const SOURCE: &str = "src/ops/libtorch/aten.cpp";
    println!("cargo:rerun-if-changed={SOURCE}");
    for variable in ["CUDA_HOME", "LIBTORCH_CXX11_ABI"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    // torch-sys says where it found libtorch.
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys names libtorch's folder");
    let root = Path::new(&lib)
        .parent()
        .expect("libtorch's lib has a parent");
    let abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .include(root.join("include"))
        .include(root.join("include/torch/csrc/api/include"))
        .file(SOURCE);

    // CUDA's headers come with its toolkit, or with packages beside PyTorch: docs/gpu.md.
    let site = root.parent().unwrap_or(root).join("nvidia");
    let headers = std::env::var("CUDA_HOME").into_iter().map(PathBuf::from);
    let headers = headers
        .chain([PathBuf::from("/usr/local/cuda")])
        .chain(["cuda_runtime", "cuda_nvcc", "cu13"].map(|package| site.join(package)))
        .map(|folder| folder.join("include"));
    let headers: Vec<_> = headers.filter(|folder| folder.is_dir()).collect();
    let complete = ["cuda_runtime_api.h", "crt/host_config.h"]
        .iter()
        .all(|header| headers.iter().any(|folder| folder.join(header).is_file()));
    if complete && Path::new(&lib).join("libtorch_cuda.so").is_file() {
        build.includes(headers).define("WITH_CUDA", None);
        println!("cargo:rustc-link-lib=c10_cuda");
    } else {
        println!(
            "cargo:warning=no libtorch for CUDA, or no CUDA headers (set CUDA_HOME): steps are not \
             recorded as CUDA graphs, and small models train slower on GPUs"
        );
    }
    build.compile("aten");
}
