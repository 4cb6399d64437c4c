use super::*;
use crate::cluster::exit_name;
use crate::cluster::pool::ByHand;

struct Stage {
    folder: tempfile::TempDir,
    cluster: Cluster,
}

fn cluster(results: &Path, patience: Duration) -> Cluster {
    Cluster::new(results, Box::new(ByHand { patience })).expect("made")
}

fn run() -> RunId {
    RunId("aa".into())
}

fn claim(attempt: usize) -> RunClaim {
    RunClaim {
        token: format!("t{attempt}"),
        host: "n1".into(),
        job: None,
        device: "cpu".into(),
        attempt,
        since: 1.0,
    }
}

impl Stage {
    fn new(patience: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let cluster = cluster(folder.path(), patience);
        Self { folder, cluster }
    }

    fn files(&self) -> ClusterFolder<'_> {
        ClusterFolder(self.folder.path())
    }

    /// Offers an attempt.
    fn offer(&mut self, attempt: usize) {
        let folder = ResultsFolder(self.folder.path()).run(&run());
        let job = Job {
            run: run(),
            data_cache: PathBuf::new(),
            device: String::new(),
            threads: 1,
            attempt,
            environment: None,
            after: None,
            claim: None,
            memory: 0.0,
            devices: 1,
            log: folder.join("log"),
            folder,
        };
        self.cluster.start(&job).expect("offered");
    }

    /// Has a worker tell of an attempt's end, when so much of its journal is written.
    fn tell(&self, attempt: usize, journal: u64) {
        let ending = Ending {
            claim: claim(attempt),
            pid: None,
            code: Some(exit_code::FINISHED),
            signal: None,
            memory_ran_out: None,
            log_tail: String::new(),
            is_suspect: false,
            journal,
        };
        let path = self.files().exits().join(exit_name(&run(), attempt));
        write_whole(&path, &ending).expect("written");
    }

    /// What the leader finds: runs that began, and how many ended.
    fn found(&mut self) -> (usize, usize) {
        std::thread::sleep(LOOK + Duration::from_millis(5));
        let begun = self.cluster.begun().len();
        (begun, self.cluster.ended().expect("watched").len())
    }

    fn offers(&self) -> usize {
        listed(&self.files().offers()).len()
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn what_is_told_of_another_attempt_is_nobodys() {
    let mut stage = Stage::new(LONG);
    stage.offer(2);
    stage.tell(1, 0);
    // One that is being written is none yet.
    let unfinished = stage.files().exits().join("aa.2.77.tmp");
    std::fs::write(unfinished, "{}").expect("written");
    assert_eq!(stage.found(), (0, 0));
    stage.tell(2, 0);
    // A leader on a machine that saw the first offer late has made another.
    let twice = stage.files().offers().join(offer_name(9, &run()));
    std::fs::write(twice, "{}").expect("written");
    stage.cluster.sweep();
    assert_eq!(stage.found(), (1, 1));
    assert_eq!(stage.offers(), 0);
}

#[test]
fn an_end_waits_for_the_last_lines_of_its_journal() {
    let mut stage = Stage::new(LONG);
    stage.offer(1);
    stage.tell(1, 7);
    assert_eq!(stage.found(), (1, 0));
    let folder = ResultsFolder(stage.folder.path()).run(&run());
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(folder.join(JOURNAL), "seven..").expect("written");
    assert_eq!(stage.found(), (0, 1));

    let mut stage = Stage::new(Duration::ZERO);
    stage.offer(1);
    stage.tell(1, 7);
    assert_eq!(stage.found(), (1, 1), "what does not come is lost");
}

#[test]
fn a_run_that_is_taken_from_its_worker_is_not_taken_from_the_next() {
    let mut stage = Stage::new(Duration::ZERO);
    stage.offer(1);
    let path = stage.files().claim(&run());
    assert!(claim(1).take(&path).expect("written"));
    assert_eq!(stage.found(), (1, 0));
    stage.cluster.kill(&run());
    assert_eq!(stage.found(), (0, 1));
    assert!(!path.exists());
    // It is quiet until its end is known.
    stage.cluster.kill(&run());
    stage.offer(2);
    assert!(claim(2).take(&path).expect("written"));
    assert_eq!(stage.found(), (1, 0));
    assert_eq!(stage.found(), (0, 0));
    assert!(path.exists());
}

#[test]
fn a_claim_that_nobody_wrote_to_its_end_keeps_nobody_out_for_ever() {
    let mut stage = Stage::new(Duration::ZERO);
    stage.offer(1);
    let path = stage.files().claim(&run());
    std::fs::write(&path, "").expect("written");
    assert_eq!(stage.found(), (0, 0));
    assert_eq!(stage.found(), (0, 0));
    assert!(!path.exists());
    assert_eq!(stage.offers(), 1);
}

#[test]
fn only_what_can_be_read_is_adopted() {
    let mut stage = Stage::new(LONG);
    stage.offer(3);
    let garbage = stage
        .files()
        .offers()
        .join(offer_name(8, &RunId("bb".into())));
    std::fs::write(garbage, "").expect("written");
    let garbage = stage.files().exits().join("cc.1");
    std::fs::write(garbage, "").expect("written");
    let mut next = cluster(stage.folder.path(), LONG);
    assert_eq!(next.adopt(), [run()]);
    stage.cluster = next;
    stage.tell(3, 0);
    assert_eq!(stage.found(), (1, 1));
}

#[test]
fn what_dies_everywhere_is_laid_to_no_machine() {
    let mut stage = Stage::new(LONG);
    let dies = |run: &str, host: &str| Ending {
        claim: RunClaim {
            host: host.into(),
            ..claim(1)
        },
        pid: None,
        code: Some(exit_code::FAILED),
        signal: None,
        memory_ran_out: None,
        log_tail: format!("{run} on {host}"),
        is_suspect: true,
        journal: 0,
    };
    let mut exit = |run: &str, host: &str| {
        let exit = stage.cluster.exit(RunId(run.into()), dies(run, host));
        let broken = stage
            .cluster
            .suspects
            .values()
            .filter(|died| died.len() > 1);
        (exit.lost.is_some(), broken.count())
    };
    assert_eq!(exit("aa", "n1"), (true, 0));
    assert_eq!(exit("bb", "n1"), (true, 1), "two runs die there");
    assert_eq!(exit("aa", "n2"), (false, 0), "and one of them here too");
}
