//! From a device's name to a device.

use super::TrainError;
use burn::tensor::Device;

/// Names of the devices this binary can use.
pub const AVAILABLE: &[&str] = &["cpu"];

/// Finds a device by name; `cpu` is burn's flex backend.
///
/// # Errors
/// When this binary has no such device.
pub fn open(name: &str) -> Result<Device, TrainError> {
    match name {
        "cpu" | "auto" => Ok(Device::flex()),
        _ => Err(TrainError::UnknownDevice {
            name: name.to_owned(),
            available: AVAILABLE.join(", "),
        }),
    }
}
