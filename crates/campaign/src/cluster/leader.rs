//! The launcher that stands for all workers of a results folder: starting a run offers it, and how it ended
//! is what its worker tells.

use super::pool::Pool;
use super::{Ending, read, run_of_exit, write_whole};
use crate::launch::offers::{KILL, Offer, STOP, listed, offer_name, remove, run_of_offer};
use crate::launch::{Begun, Exit, Job, LaunchError, Launcher, Stuck, exit_code};
use experiment::folder::{ClusterFolder, JOURNAL, ResultsFolder};
use experiment::lock::Holder;
use experiment::run::RunId;
use experiment::run_claim::RunClaim;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time between two looks at the folder.
const LOOK: Duration = Duration::from_millis(200);
/// Time between two looks at all offers, which may be many.
const SWEEP: Duration = Duration::from_secs(5);
/// Time after which it is said that workers give no sign of life.
const UNHEARD: Duration = Duration::from_secs(5);
/// Time that a worker may take to end a run that it is to kill, where its job is gone.
const GONE: Duration = Duration::from_secs(5);

/// A run that is offered or trained.
struct Offered {
    attempt: usize,
    /// Its file; two where leaders on machines that see each other's files late have each made one.
    offers: Vec<PathBuf>,
    claim: Option<RunClaim>,
    /// Since when its claim is seen, and cannot be read.
    unreadable: Option<Instant>,
}

impl Offered {
    fn new(attempt: usize, offer: Option<PathBuf>) -> Self {
        Self {
            attempt,
            offers: offer.into_iter().collect(),
            claim: None,
            unreadable: None,
        }
    }
}

/// What a worker told of an attempt's end.
struct Told {
    run: RunId,
    ending: Ending,
    /// Its file.
    path: PathBuf,
    /// When it was read.
    read: Instant,
}

/// All workers of a results folder.
pub struct Cluster {
    results: PathBuf,
    pool: Box<dyn Pool>,
    offered: BTreeMap<RunId, Offered>,
    /// Runs that are left to others.
    left: BTreeSet<RunId>,
    /// The places of runs in the order of offers, which a run keeps, and the next one.
    places: HashMap<RunId, u64>,
    place: u64,
    /// Endings that were read.
    endings: Vec<Told>,
    /// Files of endings that were told of: they go when that is in the database.
    told: Vec<PathBuf>,
    /// The time in each worker's sign of life as it was first seen, and whether it has changed since.
    signs: HashMap<String, (f64, bool)>,
    began: Instant,
    /// Whether it was said that workers give no sign of life.
    is_waiting: bool,
    looked: Option<Instant>,
    swept: Instant,
    /// Runs that are to be killed, and since when.
    killing: HashMap<RunId, Instant>,
    /// Runs that were to stop.
    stopping: BTreeSet<RunId>,
    /// Runs whose death before a first step was laid to a machine, once.
    forgiven: BTreeSet<RunId>,
    /// Machines, and the runs that died on them before their first step.
    suspects: BTreeMap<String, BTreeSet<RunId>>,
    notes: Vec<String>,
}

impl Cluster {
    /// Prepares a results folder for workers.
    ///
    /// # Errors
    /// When its folders cannot be made.
    pub fn new(results: &Path, pool: Box<dyn Pool>) -> std::io::Result<Self> {
        for folder in ClusterFolder(results).all() {
            std::fs::create_dir_all(folder)?;
        }
        let offers = listed(&ClusterFolder(results).offers());
        let place = offers.iter().filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            name.split_once('-')?.0.parse::<u64>().ok()
        });
        Ok(Self {
            results: results.to_owned(),
            pool,
            offered: BTreeMap::new(),
            left: BTreeSet::new(),
            places: HashMap::new(),
            signs: HashMap::new(),
            began: Instant::now(),
            is_waiting: false,
            place: place.max().map_or(0, |last| last + 1),
            endings: Vec::new(),
            told: Vec::new(),
            looked: None,
            swept: Instant::now(),
            killing: HashMap::new(),
            stopping: BTreeSet::new(),
            forgiven: BTreeSet::new(),
            suspects: BTreeMap::new(),
            notes: Vec::new(),
        })
    }

    /// Ends all workers, and takes back what is offered.
    ///
    /// # Errors
    /// When they go on.
    pub fn cancel(&mut self) -> Result<String, Stuck> {
        for path in listed(&self.folder().offers()) {
            // One that is gone has been taken.
            let _ = std::fs::remove_file(path);
        }
        for path in listed(&self.folder().claims()) {
            if let Some(name) = path.file_name() {
                self.ask(&RunId(name.to_string_lossy().into_owned()), STOP);
            }
        }
        self.pool.cancel()
    }

    /// Has a command carried out in a folder once all workers have ended; says what a person should know.
    ///
    /// # Errors
    /// When it will not be.
    pub fn follow(&mut self, words: &[String], folder: &Path) -> Result<String, Stuck> {
        self.pool.follow(words, folder)
    }

    fn folder(&self) -> ClusterFolder<'_> {
        ClusterFolder(&self.results)
    }

    /// Reads what is new in the folder.
    fn look(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        self.forget_told();
        if self.swept.elapsed() > SWEEP {
            self.sweep();
        }
        for path in listed(&self.folder().exits()) {
            let known = self.endings.iter().any(|told| told.path == path);
            // What is told of an attempt that was given up is nobody's.
            let is_open = |(run, attempt): &(RunId, usize)| {
                let offered = self.offered.get(run);
                !known && offered.is_some_and(|offered| offered.attempt == *attempt)
            };
            if let Some((run, _)) = run_of_exit(&path).filter(is_open)
                && let Some(ending) = read::<Ending>(&path)
            {
                self.endings.push(Told {
                    run,
                    ending,
                    path,
                    read: Instant::now(),
                });
            }
        }
    }

    /// Says whether all that an attempt measured can be seen from here; what is not after some patience is lost.
    fn is_visible(&self, told: &Told) -> bool {
        let journal = ResultsFolder(&self.results).run(&told.run).join(JOURNAL);
        // A file that is opened shows its true length, also where a look at its name shows an old one.
        let length = std::fs::File::open(journal).and_then(|file| file.metadata());
        let length = length.map_or(0, |of_file| of_file.len());
        length >= told.ending.journal || told.read.elapsed() > self.pool.patience()
    }

    /// Makes what a worker told into what became of a process.
    fn exit(&mut self, run: RunId, ending: Ending) -> Exit {
        let Ending { claim, .. } = ending;
        let was_asked = self.stopping.remove(&run) || self.killing.remove(&run).is_some();
        let mut lost = None;
        if ending.code == Some(exit_code::INTERRUPTED) && !was_asked {
            lost = Some(format!("its worker on {} ended", claim.host));
        }
        if ending.is_suspect && !self.forgiven.insert(run.clone()) {
            // It dies so wherever it begins: that is laid to it, and to no machine.
            for died in self.suspects.values_mut() {
                died.remove(&run);
            }
        } else if ending.is_suspect {
            let died = self.suspects.entry(claim.host.clone()).or_default();
            died.insert(run.clone());
            if died.len() == 2 {
                self.notes.push(format!(
                    "{} seems to be broken: runs die there before their first step; it gets no more workers",
                    claim.host
                ));
            }
            lost = Some(format!("it died before its first step on {}", claim.host));
        }
        Exit {
            run,
            code: ending.code,
            signal: ending.signal,
            memory_ran_out: ending.memory_ran_out,
            log_tail: ending.log_tail,
            lost,
        }
    }

    /// Takes runs away from workers that neither end them nor live.
    fn break_claims(&mut self) -> Vec<Exit> {
        let mut exits = Vec::new();
        let due: Vec<RunId> = self
            .killing
            .iter()
            .filter_map(|(run, since)| {
                let claim = self.offered.get(run)?.claim.as_ref()?;
                let gone = claim.job.as_deref().and_then(|job| self.pool.is_gone(job));
                let patience = self.pool.patience();
                let limit = if gone == Some(true) {
                    GONE.min(patience)
                } else {
                    patience
                };
                (since.elapsed() > limit).then(|| run.clone())
            })
            .collect();
        for run in due {
            self.killing.remove(&run);
            let Some(offered) = self.offered.remove(&run) else {
                continue;
            };
            let path = self.folder().claim(&run);
            // While it cannot be taken away, nobody else can have it either.
            if RunClaim::take_away(&path).is_err() {
                self.offered.insert(run, offered);
                continue;
            }
            self.clear(&run, &offered);
            let host = offered.claim.map_or_else(String::new, |claim| claim.host);
            exits.push(Exit {
                run,
                code: None,
                signal: Some(nix::sys::signal::Signal::SIGKILL as i32),
                memory_ran_out: Some(false),
                log_tail: String::new(),
                lost: Some(format!("its worker on {host} gives no sign of life")),
            });
        }
        exits
    }

    /// Removes what stands in the folder for a run that is offered no more. What stays is swept away later.
    fn clear(&self, run: &RunId, offered: &Offered) {
        let stop = self.folder().stops().join(&run.0);
        for path in offered.offers.iter().chain([&stop]) {
            let _ = remove(path);
        }
    }

    /// Looks for offers that are not its own: a second one of a run goes with the first, one of a run that has
    /// ended goes now.
    fn sweep(&mut self) {
        self.swept = Instant::now();
        for path in listed(&self.folder().offers()) {
            let Some(run) = run_of_offer(&path).filter(|run| !self.left.contains(run)) else {
                continue;
            };
            match self.offered.get_mut(&run) {
                Some(offered) if !offered.offers.contains(&path) => offered.offers.push(path),
                Some(_) => {}
                None => {
                    let _ = remove(&path);
                }
            }
        }
        for path in listed(&self.folder().exits()) {
            let is_open = run_of_exit(&path)
                .is_none_or(|(run, _)| self.offered.contains_key(&run) || self.left.contains(&run));
            if !is_open && !self.told.contains(&path) {
                let _ = remove(&path);
            }
        }
    }

    /// Counts the runs whose worker has given no sign of life since this leader began.
    fn unheard(&mut self) -> usize {
        #[derive(serde::Deserialize)]
        struct Sign {
            time: f64,
        }
        let mut unheard = 0;
        for claim in self
            .offered
            .values()
            .filter_map(|offered| offered.claim.as_ref())
        {
            let worker = claim.token.split('.').next().unwrap_or_default().to_owned();
            let sign: Option<Sign> = read(&self.folder().workers().join(&worker));
            let time = sign.map_or(0.0, |sign| sign.time);
            let (first, lives) = self.signs.entry(worker).or_insert((time, false));
            *lives |= *first != time;
            unheard += usize::from(!*lives);
        }
        unheard
    }

    /// Removes the endings that were told of.
    fn forget_told(&mut self) {
        for path in self.told.drain(..) {
            // One that stays is of a run that waits for nothing, and is forgotten the next time.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Reads the claims on runs that are not known to have begun. One that stays unreadable is of a worker that
    /// died as it wrote it, and is taken away.
    fn claims(&mut self) -> BTreeMap<RunId, RunClaim> {
        let patience = self.pool.patience();
        let mut claims = BTreeMap::new();
        for path in listed(&self.folder().claims()) {
            let name = path.file_name().map(|name| name.to_string_lossy());
            let Some(run) = name.map(|name| RunId(name.into_owned())) else {
                continue;
            };
            let Some(offered) = self.offered.get_mut(&run) else {
                continue;
            };
            if offered.claim.is_some() {
                continue;
            }
            if let Ok(Some(claim)) = RunClaim::read(&path) {
                claims.insert(run, claim);
                continue;
            }
            let since = offered.unreadable.get_or_insert_with(Instant::now);
            if since.elapsed() > patience {
                offered.unreadable = None;
                // While it cannot be taken away, nobody else can have it either.
                let _ = RunClaim::take_away(&path);
            }
        }
        claims
    }

    /// Asks the worker of a run for something.
    fn ask(&self, run: &RunId, what: &str) {
        let path = self.folder().stops().join(&run.0);
        if let Err(error) = std::fs::write(&path, what) {
            tracing::warn!(path = %path.display(), %error, "not asked");
        }
    }
}

impl Launcher for Cluster {
    fn place(&self, _: f64) -> Option<String> {
        Some("cluster".to_owned())
    }

    fn start(&mut self, job: &Job) -> Result<u32, LaunchError> {
        let offer = Offer {
            attempt: job.attempt,
            threads: job.threads,
            environment: job.environment.clone(),
            memory: job.memory,
            devices: job.devices,
            after: job.after.clone(),
        };
        // One that is offered again keeps its place.
        let next = self.place;
        let place = *self.places.entry(job.run.clone()).or_insert(next);
        self.place = next.max(place + 1);
        let path = self.folder().offers().join(offer_name(place, &job.run));
        // What it was asked for before is over.
        self.stopping.remove(&job.run);
        self.killing.remove(&job.run);
        let _ = std::fs::remove_file(self.folder().stops().join(&job.run.0));
        write_whole(&path, &offer).map_err(|source| LaunchError::Start {
            run: job.run.clone(),
            source,
        })?;
        let offered = Offered::new(job.attempt, Some(path));
        self.offered.insert(job.run.clone(), offered);
        Ok(0)
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn adopt(&mut self) -> Vec<RunId> {
        for path in listed(&self.folder().offers()) {
            // A listing may show what is gone; a file that is opened is there.
            if let Some((run, offer)) = run_of_offer(&path).zip(read::<Offer>(&path)) {
                let offered = self.offered.entry(run);
                let offered = offered.or_insert_with(|| Offered::new(offer.attempt, None));
                offered.attempt = offered.attempt.max(offer.attempt);
                offered.offers.push(path);
            }
        }
        for path in listed(&self.folder().exits()) {
            if let Some((run, attempt)) = run_of_exit(&path)
                && read::<Ending>(&path).is_some()
            {
                self.offered
                    .entry(run)
                    .or_insert_with(|| Offered::new(attempt, None));
            }
        }
        self.offered.keys().cloned().collect()
    }

    fn forget(&mut self, run: &RunId) -> bool {
        let offered = self.offered.remove(run);
        for path in offered.iter().flat_map(|offered| &offered.offers) {
            let _ = remove(path);
        }
        for path in listed(&self.folder().exits()) {
            if run_of_exit(&path).is_some_and(|(of, _)| of == *run) {
                let _ = std::fs::remove_file(path);
            }
        }
        offered.is_some()
    }

    fn leave(&mut self, run: &RunId) {
        if self.offered.remove(run).is_some() {
            self.left.insert(run.clone());
        }
    }

    fn begun(&mut self) -> Vec<Begun> {
        self.look();
        let mut begun = Vec::new();
        let of_endings = self.endings.iter();
        let mut claims: BTreeMap<RunId, RunClaim> = of_endings
            .map(|told| (told.run.clone(), told.ending.claim.clone()))
            .collect();
        for (run, claim) in self.claims() {
            claims.entry(run).or_insert(claim);
        }
        for (run, claim) in claims {
            if let Some(offered) = self.offered.get_mut(&run)
                && offered.claim.is_none()
            {
                offered.claim = Some(claim.clone());
                begun.push(Begun {
                    run,
                    host: claim.host,
                    device: claim.device,
                    attempt: claim.attempt,
                });
            }
        }
        begun
    }

    fn waiting(&self) -> usize {
        self.offered
            .values()
            .filter(|offered| offered.claim.is_none())
            .count()
    }

    fn is_settled(&mut self) -> bool {
        let unheard = self.unheard();
        if unheard > 0 && self.began.elapsed() > UNHEARD && !self.is_waiting {
            self.is_waiting = true;
            self.notes.push(format!(
                "{} no sign of life from its worker: waiting for one, or for `execution.stall_limit`",
                if unheard == 1 { "1 run has".to_owned() } else { format!("{unheard} runs have") }
            ));
        }
        unheard == 0 && (self.offered.is_empty() || self.pool.is_settled())
    }

    fn settle(&mut self) {
        self.forget_told();
        self.sweep();
    }

    fn tend(&mut self) -> Result<Vec<String>, LaunchError> {
        let excluded = self.suspects.iter().filter(|(_, died)| died.len() > 1);
        let excluded: BTreeSet<String> = excluded.map(|(host, _)| host.clone()).collect();
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(self.pool.tend(self.offered.len(), &excluded)?);
        Ok(notes)
    }

    fn ended(&mut self) -> Result<Vec<Exit>, LaunchError> {
        self.look();
        let mut exits = Vec::new();
        let mut later = Vec::new();
        for told in std::mem::take(&mut self.endings) {
            let offered = self.offered.get(&told.run);
            // Of one that is not known to have begun that is said first.
            let begun = offered.is_some_and(|offered| offered.claim.is_some());
            if !begun || !self.is_visible(&told) {
                later.push(told);
                continue;
            }
            if let Some(offered) = self.offered.remove(&told.run) {
                self.clear(&told.run, &offered);
            }
            self.told.push(told.path);
            exits.push(self.exit(told.run, told.ending));
        }
        self.endings = later;
        exits.extend(self.break_claims());
        Ok(exits)
    }

    fn stop(&mut self, run: &RunId) {
        self.stopping.insert(run.clone());
        self.ask(run, STOP);
    }

    fn kill(&mut self, run: &RunId) {
        // One that is taken from its worker already has ended.
        if self.offered.contains_key(run) && !self.killing.contains_key(run) {
            self.killing.insert(run.clone(), Instant::now());
            self.ask(run, KILL);
        }
    }

    fn evict(&mut self, _: &RunId, _: &Holder, _: bool) {}
}

#[cfg(test)]
mod tests;
