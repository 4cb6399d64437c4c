//! Commands of Slurm, and what counts as an answer.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A command of Slurm, as from outside of any job.
pub(super) fn command(name: &str) -> Command {
    let mut command = Command::new(name);
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        let of_job = text.starts_with("SLURM_") && text != "SLURM_CONF";
        if of_job || text.starts_with("SBATCH_") {
            command.env_remove(&variable);
        }
    }
    command
}

/// What a command printed that ended well.
#[derive(Debug, PartialEq)]
pub(super) struct Printed {
    pub(super) output: String,
    /// What it printed on standard error: a remark of the site, or a trouble.
    pub(super) remark: String,
}

/// Runs a command to its end; what ends with an error, or not in time, is an error.
pub(super) fn printed(mut command: Command, patience: Duration) -> Result<Printed, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| format!("cannot start {name}: {error}"))?;
    let started = Instant::now();
    // What it prints fits into a pipe only while somebody reads it.
    let output = child.stdout.take().map(reader);
    let remark = child.stderr.take().map(reader);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() > patience => {
                let _ = child.kill();
                let _ = child.wait();
                let seconds = patience.as_secs_f64();
                return Err(format!("{name} did not answer in {seconds} s"));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(format!("{name}: {error}")),
        }
    };
    let text = |reader: Option<JoinHandle<String>>| {
        reader.map_or_else(String::new, |reader| reader.join().unwrap_or_default())
    };
    let (output, remark) = (text(output), text(remark));
    if status.success() {
        return Ok(Printed { output, remark });
    }
    match [remark.trim(), output.trim()] {
        ["", ""] => Err(format!("{name} ended with {status}")),
        ["", said] | [said, _] => Err(format!("{name}: {said}")),
    }
}

/// Runs a command that asks; a word on standard error is no good answer, whatever it ends with.
pub(super) fn answer(command: Command, patience: Duration) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Printed { output, remark } = printed(command, patience)?;
    match remark.trim() {
        "" => Ok(output),
        said => Err(format!("{name}: {said}")),
    }
}

/// Reads a stream to its end beside everything else.
fn reader(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        // What was read before it broke is what there is.
        let _ = stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_no_good_answer_is_unknown() {
        let shell = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]);
            shell
        };
        let ask = |script: &str| answer(shell(script), Duration::from_secs(1));
        assert_eq!(ask("echo 1_0"), Ok("1_0\n".into()));
        for script in [
            "exit 1",
            "echo x; echo error >&2",
            "kill -9 $$",
            "exec sleep 9",
        ] {
            assert!(ask(script).is_err(), "{script}");
        }
        // Sites greet whoever submits.
        let submitted = printed(shell("echo 17; echo welcome >&2"), Duration::from_secs(5));
        assert_eq!(submitted.expect("it ended well").remark, "welcome\n");
    }
}
