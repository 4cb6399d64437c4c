//! `orchestrator devices`: what models can run on here, and why not on more.

use crate::cli::Failure;
use crate::cli::terminal::print;
use campaign::launch::hardware::{self, Gpu};
use experiment::quantity::counted;
use experiment::quantity::human_bytes;
use network::device::{self, DeviceError};
use serde::Serialize;
use std::process::ExitCode;

/// List the devices that this program can train on here, and say why any is missing.
///
/// The names are those that `--device` takes; `auto` is every GPU listed, or else the CPU.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator devices --json")]
pub(in crate::cli) struct Args {
    /// Print JSON: an object with the arrays `devices` and `missing`.
    #[arg(long)]
    json: bool,
}

/// A device that can be used.
#[derive(Serialize)]
struct Usable {
    name: String,
    kernels: &'static str,
    /// As its maker calls it.
    model: Option<String>,
    memory_bytes: Option<u64>,
    free_memory_bytes: Option<u64>,
    driver: Option<String>,
}

/// A device that cannot.
#[derive(Serialize)]
struct Missing {
    name: &'static str,
    why: String,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let gpus = hardware::gpus();
    let usable: Vec<Usable> = device::available()
        .into_iter()
        .map(|name| usable(name, gpus.as_deref().unwrap_or(&[])))
        .collect();
    let missing = missing(&gpus);
    if args.json {
        let json = serde_json::json!({ "devices": usable, "missing": missing });
        print(&format!("{json:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for device in usable {
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| human_bytes(bytes as f64));
        let memory = bytes(device.memory_bytes).zip(bytes(device.free_memory_bytes));
        let rest = [
            device.model,
            memory.map(|(all, free)| format!("{all} of memory, {free} free")),
            device.driver.map(|driver| format!("driver {driver}")),
        ];
        let rest = rest.into_iter().flatten().collect::<Vec<_>>().join("; ");
        text += &format!("{:<8}  {:<12}  {rest}\n", device.name, device.kernels);
    }
    for Missing { name, why } in missing {
        text += &format!("{name:<8}  not available: {why}\n");
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn usable(name: String, gpus: &[Gpu]) -> Usable {
    let kernels = device::kernels(&name);
    if device::is_cpu(&name) {
        let bytes = |bytes: Option<f64>| bytes.map(|bytes| bytes as u64);
        return Usable {
            name,
            kernels,
            model: hardware::processor(),
            memory_bytes: bytes(hardware::machine_memory()),
            free_memory_bytes: bytes(hardware::machine_free_memory()),
            driver: None,
        };
    }
    let gpu = device::gpu_index(&name).and_then(|index| gpus.get(index));
    Usable {
        name,
        kernels,
        model: gpu.map(|gpu| gpu.name.clone()),
        memory_bytes: gpu.map(|gpu| gpu.memory_bytes),
        free_memory_bytes: gpu.map(|gpu| gpu.free_memory_bytes),
        driver: gpu.map(|gpu| gpu.driver.clone()),
    }
}

/// Says why a device of each kind cannot be used, where none can.
fn missing(gpus: &Result<Vec<Gpu>, String>) -> Vec<Missing> {
    let seen = match gpus {
        Ok(gpus) => format!("the driver shows {}", counted(gpus.len(), "GPU")),
        Err(why) => why.clone(),
    };
    ["cuda:0", "cubecl:0", "tch:cpu"]
        .into_iter()
        .filter_map(|name| {
            let DeviceError { why, .. } = device::open(name).err()?;
            let why = if device::is_cpu(name) {
                why
            } else {
                format!("{why}; {seen}")
            };
            Some(Missing { name, why })
        })
        .collect()
}
