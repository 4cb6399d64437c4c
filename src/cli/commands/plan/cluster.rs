//! What a plan asks of a cluster.

use super::seconds;
use crate::application::Chosen;
use campaign::cluster::profile::Profile;
use experiment::quantity::counted;

/// Counts the runs that train at once on a cluster, where each worker trains one, or as many as its profile says;
/// of workers that somebody else starts nothing is known.
pub(super) fn at_once(on: &Chosen, left: usize) -> usize {
    match &on.profile {
        Profile::Slurm(slurm) => {
            let each = slurm.per_device.map_or(1, usize::from);
            (each * slurm.workers_for(left)).clamp(1, left.max(1))
        }
        Profile::ByHand(_) => 1,
    }
}

/// Says in a line what so many runs, of so many seconds together, ask of a cluster.
pub(super) fn describe(on: &Chosen, left: usize, all: Option<f64>) -> String {
    let name = &on.name;
    let time = all.map(|all| format!("{} of training, at this machine's speed", seconds(all)));
    let time = time.unwrap_or_else(|| "how long they take is not known here".to_owned());
    match &on.profile {
        Profile::Slurm(slurm) => {
            let jobs = slurm.jobs_for(left, all);
            let limit = slurm.time.map_or_else(String::new, |limit| {
                format!(" ({} each at most)", seconds(limit.0.get()))
            });
            format!(
                "\non {name}: {} at once, in at least {}{limit}; {time}",
                counted(slurm.workers_for(left), "worker"),
                counted(jobs, "job")
            )
        }
        Profile::ByHand(_) => format!("\non {name}: as many workers as you start; {time}"),
    }
}
