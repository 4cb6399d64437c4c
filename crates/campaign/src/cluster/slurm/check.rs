//! Whether Slurm would take the workers of a profile, and what limits them.

use super::asking::{answer, command, printed};
use super::submission::Submission;
use crate::store::shared_filesystem;
use experiment::quantity::{Seconds, counted};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// What was found of a profile.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It is as it should be.
    Fine(String),
    /// It may be wrong.
    Doubt(String),
    /// No worker would begin.
    Wrong(String),
}

/// Asks Slurm what it would do with the workers; none is submitted.
pub fn check(asks: &Submission) -> Vec<Finding> {
    let patience = asks.profile.answer.0.duration();
    let ask = |program: &str, arguments: &[&str]| {
        let mut command = command(program);
        command.args(arguments);
        answer(command, patience)
    };
    let version = match ask("sbatch", &["--version"]) {
        Ok(version) => version.trim().to_owned(),
        Err(why) => return vec![Finding::Wrong(format!("Slurm cannot be asked: {why}"))],
    };
    let mut found = vec![match asks.tried() {
        Ok(said) => Finding::Fine(format!("{version} takes a worker: {said}")),
        Err(why) => Finding::Wrong(format!("{version} refuses a worker: {why}")),
    }];
    let partitions = ask("scontrol", &["-o", "show", "partition"]).unwrap_or_default();
    found.extend(of_time(asks, &partitions));
    let config = ask("scontrol", &["show", "config"]).unwrap_or_default();
    found.extend(of_arrays(asks, &config));
    found.extend(of_account(asks, patience));
    found.extend(of_folders(asks));
    found
}

/// Finds a value in what scontrol shows: `Name=Value`, or `Name = Value`.
fn shown<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = |line: &'a str| {
        let value = line.trim().strip_prefix(name)?.trim_start();
        value.strip_prefix('=').map(str::trim)
    };
    text.split_whitespace()
        .find_map(at)
        .or_else(|| text.lines().find_map(at))
}

/// Compares the time of a worker with what the partitions allow.
fn of_time(asks: &Submission, partitions: &str) -> Vec<Finding> {
    let named = &asks.profile.partition.0;
    let is_meant = |line: &&str| {
        let name = shown(line, "PartitionName");
        let is_named = named.iter().any(|asked| name == Some(asked));
        is_named || named.is_empty() && shown(line, "Default") == Some("YES")
    };
    let mut found = Vec::new();
    for line in partitions.lines().filter(is_meant) {
        let name = shown(line, "PartitionName").unwrap_or_default();
        let most = shown(line, "MaxTime").unwrap_or_default();
        let limit = crate::cluster::profile::of_slurm(most);
        found.push(match (asks.profile.time, limit) {
            (Some(time), Some(limit)) if time.0 > limit => Finding::Wrong(format!(
                "`time` is {}, and partition {name} allows {most}",
                hours(time.0)
            )),
            (Some(time), _) => Finding::Fine(format!(
                "`time`, {}, fits partition {name} ({most})",
                hours(time.0)
            )),
            (None, _) => Finding::Doubt(format!(
                "`time` is not given: partition {name} gives {} (at most {most})",
                shown(line, "DefaultTime").unwrap_or("its own")
            )),
        });
    }
    found
}

fn hours(time: Seconds) -> String {
    match time.get() {
        s if s < 5400.0 => counted((s / 60.0).ceil() as usize, "minute"),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn of_arrays(asks: &Submission, config: &str) -> Option<Finding> {
    let most: usize = shown(config, "MaxArraySize")?.parse().ok()?;
    (asks.profile.workers.get() > most).then(|| {
        Finding::Doubt(format!(
            "an array has at most {most} jobs here: {} are submitted in several",
            counted(asks.profile.workers.get(), "worker")
        ))
    })
}

/// Reads how many jobs the user may have, where the site keeps accounts.
fn of_account(asks: &Submission, patience: Duration) -> Option<Finding> {
    let user = std::env::var("USER").ok()?;
    let mut sacctmgr = command("sacctmgr");
    let user = format!("user={user}");
    let words = [
        "-nP",
        "show",
        "assoc",
        "where",
        &user,
        "format=MaxSubmitJobs",
    ];
    sacctmgr.args(words);
    // Many sites have no accounts, or show them to nobody.
    let text = printed(sacctmgr, patience).ok()?.output;
    let most = text
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .max();
    most.filter(|most| asks.profile.workers.get() > *most)
        .map(|most: usize| {
            Finding::Doubt(format!(
                "you may have {} at once: no more workers come up",
                counted(most, "job")
            ))
        })
}

/// Says what lies where other machines may not see it.
fn of_folders(asks: &Submission) -> Vec<Finding> {
    let is_local = |path: &&Path| shared_filesystem(path).is_none();
    let places = [asks.results.as_path(), asks.program.as_path()];
    places
        .into_iter()
        .filter(is_local)
        .map(|path| {
            Finding::Doubt(format!(
                "{} lies on no filesystem that is known to be shared: nodes must see it under the same path",
                path.display()
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::slurm;
    use super::*;

    #[test]
    fn times_are_held_against_their_partitions() {
        let partitions = "PartitionName=gpu AllowGroups=ALL Default=YES MaxTime=02:00:00 DefaultTime=NONE\n\
                          PartitionName=long AllowGroups=ALL Default=NO MaxTime=UNLIMITED DefaultTime=01:00:00\n";
        let found = |profile: &str| of_time(&slurm(profile).asks, partitions);
        let wrong = found("a: {slurm: {workers: 1, time: 4h}}");
        assert_eq!(
            wrong,
            [Finding::Wrong(
                "`time` is 4.0 h, and partition gpu allows 02:00:00".into()
            )]
        );
        let fine = found("a: {slurm: {workers: 1, time: 4h, partition: long}}");
        assert!(matches!(&fine[..], [Finding::Fine(_)]), "{fine:?}");
        let both = found("a: {slurm: {workers: 1, partition: [gpu, long]}}");
        assert!(
            matches!(&both[..], [Finding::Doubt(_), Finding::Doubt(_)]),
            "{both:?}"
        );
        let config = "MailProg = /bin/mail\nMaxArraySize            = 10\n";
        let many = slurm("a: {slurm: {workers: 16}}").asks;
        assert!(of_arrays(&many, config).is_some());
        assert_eq!(
            of_arrays(&slurm("a: {slurm: {workers: 10}}").asks, config),
            None
        );
    }
}
