//! The shipped examples for public trainers: what they run, and how those trainers' own logs are read.

use super::{examples, run, status};
use crate::support::Desk;
use serde_json::Value;
use std::f64::consts::LN_2;

/// A shipped example without the folder and the code of a trainer that is not here.
fn shipped(name: &str) -> String {
    let path = examples().join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(path).expect("shipped");
    let is_elsewhere =
        |line: &&str| line.starts_with("  directory:") || line.starts_with("  code:");
    let lines: Vec<&str> = text.lines().filter(|line| !is_elsewhere(line)).collect();
    lines.join("\n")
}

/// A shipped example with a script in place of the trainer: one run, of the first value of each axis.
fn alone(name: &str) -> String {
    let text = shipped(name).replace("devices_per_run: 8", "devices_per_run: 1");
    let (before, after) = text.split_once("  command:\n").expect("a command");
    let (trainer, grid) = after.split_once("\ngrid:\n").expect("a grid");
    let arguments = |line: &&str| line.starts_with("    - ");
    let trainer: Vec<&str> = trainer.lines().skip_while(arguments).collect();
    let first = |line: &str| match (line.find(','), line.find(']')) {
        (Some(comma), Some(end)) if comma < end => format!("{}{}", &line[..comma], &line[end..]),
        _ => line.to_owned(),
    };
    let grid: Vec<String> = grid.lines().map(first).collect();
    format!(
        "{before}  command: [sh, train.sh, \"{{checkpoints}}\"]\n{}\ngrid:\n{}\n",
        trainer.join("\n"),
        grid.join("\n")
    )
}

/// Runs an example's only run over a script, which must end as finished with this loss, N and D.
fn finishes(name: &str, script: &str, loss: f64, params: u64, tokens: u64) -> Value {
    let desk = Desk::new()
        .with("train.sh", script)
        .with("theirs.yaml", alone(name));
    let said = run(&desk);
    let runs = status(&desk);
    assert_eq!(runs.len(), 1, "{name}: {said}");
    assert_eq!(runs[0]["outcome"], "finished", "{name}: {runs:?} {said}");
    let found = runs[0]["loss"].as_f64().expect("a loss");
    assert!((found - loss).abs() < 1e-12, "{name}: {found}, not {loss}");
    assert_eq!(runs[0]["params"], params, "{name}");
    assert_eq!(runs[0]["tokens"], tokens, "{name}");
    runs[0].clone()
}

/// The script that prints a log.
fn printing(log: &str) -> String {
    format!("cat <<'END'\n{log}\nEND\n")
}

/// The first command that an example plans, and the folder of its run.
fn first_command(name: &str) -> (String, String) {
    let desk = Desk::new().with("theirs.yaml", shipped(name));
    let commands = desk.done(&["plan", "theirs.yaml", "--commands"]);
    let plan = desk.json(&["plan", "theirs.yaml", "--json"]);
    let runs = plan["runs"].as_array().expect("runs");
    assert_eq!(commands.lines().count(), runs.len(), "{name}");
    let id = runs[0]["id"].as_str().expect("an id");
    let folder = desk.path().canonicalize().expect("a folder");
    let folder = folder.join("results/theirs/runs").join(id);
    let first = commands.lines().next().expect("a command");
    (first.to_owned(), folder.display().to_string())
}

/// # Source
/// karpathy/nanochat, `runs/scaling_laws.sh` at 92d63d4: its loops and its arguments.
#[test]
fn nanochat_is_run_as_its_own_script_runs_it() {
    let desk = Desk::new().with("theirs.yaml", shipped("nanochat"));
    let planned = desk.done(&["plan", "theirs.yaml", "--commands"]);
    let planned: Vec<&str> = planned.lines().collect();
    let mut script = Vec::new();
    for flops in ["1e18", "2.15e18", "4.64e18", "1e19"] {
        for depth in [10, 12, 14, 16, 18, 20] {
            let tag = format!("scaling_{flops}_d{depth}");
            let eval_tokens = 100 * 524_288;
            let rows = if depth >= 28 {
                8
            } else if depth >= 20 {
                16
            } else {
                32
            };
            script.push(format!(
                "torchrun --standalone --nproc_per_node=8 -m scripts.base_train -- --depth={depth} \
                 --target-flops={flops} --target-param-data-ratio=-1 --run=scaling_jan26_{tag} \
                 --model-tag={tag} --eval-tokens={eval_tokens} --core-metric-every=999999 \
                 --core-metric-max-per-task=-1 --sample-every=-1 --save-every=-1 \
                 --device-batch-size={rows}"
            ));
        }
    }
    assert_eq!(planned, script);
}

/// # Source
/// karpathy/nanochat, `scripts/base_train.py` at 92d63d4: the form of its lines; the numbers are ours.
#[test]
fn nanochats_log_is_read() {
    let log = "\
Vocab size: 32,768
Parameter counts:
wte                     : 20,971,520
lm_head                 : 20,971,520
transformer_matrices    : 49,152,160
total                   : 195,952,834
Estimated FLOPs per token: 5.500000e+08
Calculated number of iterations from target FLOPs: 3,467
Total number of training tokens: 1,817,706,496
Tokens : Scaling params ratio: 25.92
Total training FLOPs estimate: 9.997386e+17
Total batch size 524,288 => gradient accumulation steps: 1
Step 00000 | Validation bpb: 3.201544
step 00000/03467 (0.00%) | loss: 10.397208 | lrm: 0.03 | dt: 31022.11ms | tok/sec: 16,900 | bf16_mfu: 1.17 | epoch: 1 pq: 0 rg: 0 | total time: 0.00m
step 03466/03467 (99.97%) | loss: 2.912001 | lrm: 0.05 | dt: 402.90ms | tok/sec: 1,301,284 | bf16_mfu: 44.71 | epoch: 1 pq: 20 rg: 7 | total time: 23.10m | eta: 0.0m
Step 03467 | Validation bpb: 0.901234
Evaluating: hellaswag_zeroshot (0-shot, type: multiple_choice)... accuracy: 0.3012 | centered: 0.0683 | time: 3.10s
Step 03467 | CORE metric: 0.1234
2026-01-26 10:00:00,000 - nanochat.checkpoint_manager - INFO - Saved optimizer state to: /c/scaling_1e18_d10/optim_003467_rank0.pt
Minimum validation bpb: 0.801234";
    let script = format!("[ \"$OMP_NUM_THREADS\" = 1 ] || exit 9\n{}", printing(log));
    let loss = 0.901_234 * LN_2;
    let finished = finishes("nanochat", &script, loss, 49_152_160, 1_817_706_496);
    assert_eq!(finished["bits_per_byte"], 0.901_234);
    assert_eq!(finished["planned_flops"], 9.997_386e17, "as reported");
    // A held-out loss that is no number is divergence, and no line that was not understood.
    let script = printing(&log.replace("bpb: 0.901234", "bpb: nan"));
    let desk = Desk::new()
        .with("train.sh", script)
        .with("theirs.yaml", alone("nanochat"));
    run(&desk);
    assert_eq!(status(&desk)[0]["outcome"], "diverged");
}

/// # Source
/// pytorch/torchtitan at b5bcd76: `torchtitan/config/configs.py` and `run_train.sh` for the arguments,
/// `torchtitan/components/metrics.py` and `torchtitan/tools/utils.py` for the lines and their colours.
#[test]
fn torchtitan_is_run_and_its_log_is_read_with_and_without_colours() {
    let (command, folder) = first_command("torchtitan");
    let right = format!(
        "torchrun --standalone --nproc_per_node=8 --local-ranks-filter=0 --role=rank --tee=3 \
         -m torchtitan.train --module=scaling_models --config=llama_d8 --training.steps=2000 \
         --training.num_tokens_per_train_step=524288 --training.max_context_length=2048 \
         --debug.seed=0 --dump_folder={folder} --checkpoint.enable --checkpoint.interval=200 \
         --checkpoint.keep_latest_k=2 --checkpoint.no-last_save_model_only --validator.enable \
         --validator.freq=200 --validator.steps=20 --metrics.log_freq=10 \
         --metrics.disable_color_printing --training.num_tokens_per_microbatch_per_dp_rank=16384"
    );
    assert_eq!(command, right);
    // `~` begins a colour.
    let log = "\
~34mModel llama3 d8 ~31msize: 845,611,008 total parameters~39m
Training starts at step 1
~31mstep:  1  ~32mloss: 12.27046  ~38;2;180;60;0mgrad_norm:  4.1234  ~38;2;54;234;195mmemory: 51.20GiB(36.72%)  ~34mtps: 3,210  ~36mtflops: 20.11  ~35mmfu: 2.03%~39m
~33mvalidate step:  1  ~32mloss: 12.1005  ~38;2;54;234;195mmemory: 51.20GiB(36.72%)  ~34mtps: 50,000~39m
Finished saving the checkpoint in 1.20 seconds.
~31mstep: 2000  ~32mloss:  3.39002  ~38;2;180;60;0mgrad_norm:  0.3001  ~38;2;54;234;195mmemory: 51.20GiB(36.72%)  ~34mtps: 80,000  ~36mtflops: 300.11  ~35mmfu: 30.35%~39m
~33mvalidate step: 2000  ~32mloss:  3.4250  ~38;2;54;234;195mmemory: 51.20GiB(36.72%)  ~34mtps: 50,000~39m
Training completed";
    let lines = log
        .lines()
        .map(|line| format!("[rank0]:[titan] 2026-08-21 10:00:00,000 - root - INFO - {line}"));
    let log = lines.collect::<Vec<_>>().join("\n");
    let pieces = log.split('~').enumerate().map(|(at, piece)| match at {
        0 => piece,
        _ => piece.split_once('m').expect("a colour").1,
    });
    let plain: String = pieces.collect();
    assert!(plain.contains(" - validate step: 2000  loss:  3.4250  memory"));
    for log in [plain, log.replace('~', "\u{1b}[")] {
        finishes(
            "torchtitan",
            &printing(&log),
            3.425,
            56_623_104,
            1_048_576_000,
        );
    }
}

/// # Source
/// NVIDIA/Megatron-LM at d98e8a6: `megatron/training/arguments.py` and
/// `megatron/training/config/training_config.py` for the arguments, `megatron/training/training.py` and
/// `megatron/training/checkpointing.py` for the lines.
#[test]
fn megatron_is_run_and_its_log_is_read() {
    let (command, folder) = first_command("megatron");
    let right = format!(
        "torchrun --standalone --nproc_per_node=8 pretrain_gpt.py --num-layers=8 --hidden-size=512 \
         --num-attention-heads=8 --seq-length=2048 --max-position-embeddings=2048 \
         --global-batch-size=256 --train-iters=2000 --lr=6e-4 --min-lr=6e-5 \
         --lr-decay-style=cosine --lr-warmup-fraction=0.02 --weight-decay=0.1 --adam-beta2=0.95 \
         --bf16 --seed=1 --tokenizer-type=GPT2BPETokenizer --vocab-file=/data/gpt2-vocab.json \
         --merge-file=/data/gpt2-merges.txt --data-path=/data/corpus_text_document \
         --split=990,10,0 --log-interval=10 --eval-interval=200 --eval-iters=20 \
         --save={folder}/checkpoints --load={folder}/checkpoints --save-interval=200 \
         --save-retain-interval=2000 --exit-signal-handler --micro-batch-size=8"
    );
    assert_eq!(command, right);
    // What is said of a test set is no held-out loss.
    let log = "\
 > number of parameters on (tensor, gtp_weight_remat, pipeline) model parallel rank (0, 0, 0): 52000000
 [2026-08-22 10:00:00.000000] iteration       10/    2000 | consumed samples:         2560 | elapsed time per iteration (ms): 812.3 | learning rate: 1.500000E-04 | global batch size:   256 | lm loss: 1.054321E+01 | loss scale: 1.0 | grad norm: 3.210 | number of skipped iterations:   0 | number of nan iterations:   0 |
 validation loss at iteration 200 | lm loss value: 5.012345E+00 | lm loss PPL: 1.502567E+02 |\x20
  [2026-08-22 10:10:00.000000] successfully saved checkpoint from iteration     200 to /c [ t 1/1, gtp_remat 1/1, p 1/1 ]
 [2026-08-22 11:00:00.000000] iteration     2000/    2000 | consumed samples:       512000 | elapsed time per iteration (ms): 312.3 | learning rate: 6.000000E-05 | global batch size:   256 | lm loss: 3.301234E+00 | loss scale: 1.0 | grad norm: 0.321 | number of skipped iterations:   0 | number of nan iterations:   0 |
 validation loss at iteration 2000 | lm loss value: 3.311111E+00 | lm loss PPL: 2.741557E+01 |\x20
------------------------------------------------------------------------------------------
 validation loss at iteration 2000 on validation set | lm loss value: 3.322222E+00 | lm loss PPL: 2.772188E+01 |\x20
------------------------------------------------------------------------------------------
 validation loss at iteration 2000 on test set | lm loss value: 9.900000E+00 | lm loss PPL: 1.993037E+04 |\x20";
    finishes(
        "megatron",
        &printing(log),
        3.322_222,
        25_165_824,
        1_048_576_000,
    );
}

/// # Source
/// transformers 5.24.0: `training_args.py` for the arguments, `trainer.py` and `trainer_callback.py` for the
/// file, in which rows of training have `train_runtime` too where tokens are counted; huggingface/transformers
/// at 00d481d, `examples/pytorch/language-modeling/run_clm.py`.
#[test]
fn hugging_faces_trainer_is_run_and_its_state_is_read() {
    let (command, folder) = first_command("huggingface");
    let right = format!(
        "torchrun --standalone --nproc_per_node=8 run_clm.py --model_type=gpt2 \
         --config_overrides=n_layer=6,n_embd=384,n_head=6 --tokenizer_name=gpt2 \
         --train_file=/data/train.txt --validation_file=/data/validation.txt --block_size=1024 \
         --do_train --do_eval --max_steps=1000 --learning_rate=6e-4 --lr_scheduler_type=cosine \
         --warmup_steps=20 --weight_decay=0.1 --bf16 --seed=0 --output_dir={folder}/checkpoints \
         --logging_steps=10 --eval_strategy=steps --eval_steps=100 --save_strategy=steps \
         --save_steps=100 --save_total_limit=2 --include_num_input_tokens_seen=true \
         --report_to=none --per_device_train_batch_size=16 --per_device_eval_batch_size=16 \
         --gradient_accumulation_steps=4"
    );
    assert_eq!(command, right);
    // Slightly fewer tokens than the file says: what was counted is D.
    let history = r#"
    {"epoch": 0.004, "grad_norm": 2.5, "learning_rate": 0.0003, "loss": 9.8, "num_input_tokens_seen": 5242880, "step": 10, "train_runtime": 21.5, "train_tokens_per_second": 243854.0},
    {"epoch": 0.4, "grad_norm": 0.4, "learning_rate": 0.0, "loss": 3.55, "num_input_tokens_seen": 523239424, "step": 1000, "train_runtime": 2100.5, "train_tokens_per_second": 249102.3},
    {"epoch": 0.4, "eval_accuracy": 0.38, "eval_loss": 3.5123, "eval_runtime": 12.5, "eval_samples_per_second": 80.0, "eval_steps_per_second": 5.0, "num_input_tokens_seen": 523239424, "step": 1000}"#;
    let summary = r#"
    {"epoch": 0.4, "num_input_tokens_seen": 523239424, "step": 1000, "total_flos": 3.1e+16, "train_loss": 4.1, "train_runtime": 2101.0, "train_samples_per_second": 243.7, "train_steps_per_second": 0.476}"#;
    let state = |history: &str| {
        format!(
            "{{\"best_metric\": null, \"epoch\": 0.4, \"eval_steps\": 100, \"global_step\": 1000, \
             \"is_world_process_zero\": true, \"log_history\": [{history}\n], \"max_steps\": 1000, \
             \"num_input_tokens_seen\": 523239424, \"total_flos\": 3.1e+16}}"
        )
    };
    // As its own order is: a checkpoint, then the state at the end, with a summary of the training.
    let script = format!(
        "mkdir -p \"$1/checkpoint-1000\"\ncat > \"$1/checkpoint-1000/trainer_state.json\" <<'END'\n\
         {}\nEND\ncat > \"$1/trainer_state.json\" <<'END'\n{}\nEND\n",
        state(history),
        state(&format!("{history},{summary}"))
    );
    finishes("huggingface", &script, 3.5123, 10_616_832, 523_239_424);
}
