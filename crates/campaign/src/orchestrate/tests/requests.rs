//! What others ask of a grid that is being run.

use super::super::requests::ask;
use super::*;
use crate::store::Ended;

#[tokio::test]
async fn runs_are_cancelled_while_they_train_and_while_they_wait() {
    let mut theatre = Theatre::new(THREE).await;
    theatre.setting.execution.stall_limit = Seconds::from(30);
    theatre.stage.slots = 1;
    theatre.plays(2, &[Act::Wait]);
    for run in [2, 0] {
        ask(
            theatre.folder.path(),
            Request::Cancel,
            &theatre.id(run),
            None,
        )
        .expect("asked");
    }
    // The longest would start first, but it is asked for before it does.
    let summary = theatre.run().await;
    assert_eq!((summary.finished, summary.cancelled), (1, 2));
    assert!(theatre.outcomes(2).await.is_empty());
    assert_eq!(theatre.record(0).await.outcome, Some(Cancelled));

    let id = theatre.id(2);
    theatre.store.make_eligible(&id).await.expect("eligible");
    let results = theatre.folder.path().to_owned();
    let request = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ask(&results, Request::Cancel, &id, None).expect("asked");
    });
    let summary = theatre.run().await;
    request.await.expect("asked");
    assert_eq!((summary.already, summary.cancelled), (1, 2));
    assert_eq!(theatre.outcomes(2).await, [Cancelled]);
    let requests = std::fs::read_dir(theatre.folder.path().join(".cancel")).expect("a folder");
    assert_eq!(requests.count(), 0);
}

#[tokio::test]
async fn a_failed_run_is_tried_again_while_others_train() {
    let mut theatre = Theatre::new(THREE).await;
    theatre.setting.execution.retries = 0;
    theatre.setting.execution.stall_limit = Seconds::from(30);
    theatre.stage.slots = 2;
    theatre.plays(2, &[Act::Wait, Act::Wait]);
    theatre.plays(1, &[Act::Fail]);
    let (results, long, failed) = (
        theatre.folder.path().to_owned(),
        theatre.id(2),
        theatre.id(1),
    );
    let requests = tokio::spawn(async move {
        let pause = || tokio::time::sleep(Duration::from_millis(100));
        pause().await;
        ask(&results, Request::Retry, &failed, None).expect("asked");
        pause().await;
        ask(&results, Request::Cancel, &long, None).expect("asked");
    });
    let summary = theatre.run().await;
    requests.await.expect("asked");
    assert_eq!(
        (summary.finished, summary.failed, summary.cancelled),
        (2, 0, 1)
    );
    assert_eq!(theatre.outcomes(1).await, [Crashed, Finished]);
    let reopened = |notice: &&Notice| matches!(notice, Notice::Reopened(_));
    assert_eq!(theatre.notices.0.iter().filter(reopened).count(), 1);
}

#[tokio::test]
async fn runs_of_another_experiment_are_cancelled_and_made_eligible_too() {
    let mut theatre = Theatre::new(THREE).await;
    // Another experiment in the same folder: one of its runs waits, and one has failed.
    let others = planned(
        "grid: {params: [0.3M, 0.5M], tokens: 65536, concept_share: 0.5, compression_ratio: 4}",
    );
    let record = ExperimentRecord {
        name: "other".into(),
        config: String::new(),
        config_hash: String::new(),
        program_version: "0".into(),
        git_commit: None,
    };
    theatre
        .store
        .plan(&record, &stored(&others), 0.0)
        .await
        .expect("planned");
    let [waiting, failed] = [&others[0].id, &others[1].id];
    let store = &theatre.store;
    store
        .end_run(failed, Crashed, "broken", 1.0)
        .await
        .expect("ended");
    ask(theatre.folder.path(), Request::Cancel, waiting, None).expect("asked");
    ask(theatre.folder.path(), Request::Retry, failed, None).expect("asked");
    let summary = theatre.run().await;
    assert_eq!(
        (summary.finished, summary.cancelled, summary.failed),
        (3, 0, 0)
    );
    let record = async |id| theatre.store.run(id).await.expect("read").expect("known");
    assert_eq!(record(waiting).await.outcome, Some(Cancelled));
    assert_eq!(record(failed).await.state, RunState::Pending);
}

#[tokio::test]
async fn what_another_orchestrator_was_asked_to_cancel_is_told_and_trained() {
    let mut theatre = Theatre::new(THREE).await;
    let gone = experiment::lock::Holder {
        pid: 1,
        host: "elsewhere".into(),
        since: 1.0,
    };
    let id = theatre.id(0);
    ask(theatre.folder.path(), Request::Cancel, &id, Some(&gone)).expect("asked");
    let summary = theatre.run().await;
    assert_eq!((summary.finished, summary.cancelled), (3, 0));
    let left =
        |notice: &&Notice| matches!(notice, Notice::Left(run, of) if *run == id && *of == gone);
    assert_eq!(theatre.notices.0.iter().filter(left).count(), 1);
}

#[tokio::test]
async fn a_blocked_run_can_be_cancelled() {
    let mut theatre = Theatre::new(BRANCHES).await;
    theatre.stage.slots = 2;
    let branch = theatre
        .planned
        .iter()
        .rposition(|run| run.work.start().is_some());
    let branch = branch.expect("a branch");
    let trunk = theatre.planned[branch]
        .work
        .start()
        .cloned()
        .expect("a start")
        .run;
    theatre.stage.acts.insert(trunk, vec![Act::Fail]);
    assert_eq!(theatre.run().await.cancelled, 0);
    assert_eq!(theatre.record(branch).await.state, RunState::Pending);
    ask(
        theatre.folder.path(),
        Request::Cancel,
        &theatre.id(branch),
        None,
    )
    .expect("asked");
    theatre.run().await;
    assert_eq!(theatre.record(branch).await.outcome, Some(Cancelled));
}

#[tokio::test]
async fn a_run_that_is_tried_again_is_paid_for_once() {
    let mut theatre = Theatre::new(THREE).await;
    theatre.setting.execution.retries = 0;
    theatre.setting.execution.stall_limit = Seconds::from(30);
    theatre.stage.slots = 1;
    theatre.plays(0, &[Act::Fail]);
    theatre.setting.max_runs = None;
    assert_eq!(theatre.run().await.failed, 1);
    // One more has to be trained; meanwhile the failed one is asked for again.
    let last = theatre.id(2);
    let ended = Ended {
        at: 1.0,
        outcome: Crashed,
        exit_code: None,
        signal: None,
        message: None,
        tried_again: true,
        micro_batch: None,
    };
    theatre
        .store
        .end_attempt(&last, 1, &ended)
        .await
        .expect("open again");
    theatre.setting.execution.max_flops = theatre.planned.iter().map(|run| run.flops).sum();
    ask(theatre.folder.path(), Request::Retry, &theatre.id(0), None).expect("asked");
    let summary = theatre.run().await;
    assert_eq!((summary.finished, summary.left), (2, 0), "{summary:?}");
}
