//! The languages against their definition, letter by letter.

use super::*;
use std::collections::{HashMap, HashSet};

fn spec() -> SyntheticSpec {
    SyntheticSpec {
        train_tokens: 256 * 400,
        validation_tokens: 256 * 200,
        seed: 7,
        ..SyntheticSpec::of(LanguageKind::Cycles)
    }
}

fn language(change: impl Fn(&mut SyntheticSpec)) -> Language {
    let mut spec = spec();
    change(&mut spec);
    Language::new(&spec).unwrap()
}

/// A language of dialects, with the other's documents and seed.
fn dialects(change: impl Fn(&mut SyntheticSpec)) -> Language {
    language(|spec| {
        *spec = SyntheticSpec {
            train_tokens: spec.train_tokens,
            validation_tokens: spec.validation_tokens,
            seed: spec.seed,
            ..SyntheticSpec::of(LanguageKind::Dialects)
        };
        change(spec);
    })
}

fn entropy(language: &Language, index: u64) -> f64 {
    language.document_entropy(&language.walk(Split::Validation, index).chain)
}

/// Sums −ln p of a document's real tokens under the told predictor, letter by letter from the
/// definition, with none of the shortcuts of `document_entropy`.
fn realised(language: &Language, index: u64) -> f64 {
    let mut walk = language.walk(Split::Validation, index);
    let chain = walk.chain.clone();
    let words = chain.words.len();
    let mut before: Option<usize> = None;
    let mut position = 0;
    let mut sum = 0.0;
    while position <= language.spec.document_tokens {
        let word = walk.next().unwrap();
        let chance = |place: usize| match before {
            None => 1.0 / words as f64,
            Some(before) => {
                let follows = place == chain.successors[before];
                language.spec.noise / words as f64
                    + if follows {
                        1.0 - language.spec.noise
                    } else {
                        0.0
                    }
            }
        };
        for letter in 0..word.len() {
            let agreeing = |letters: usize| -> f64 {
                let agrees = |&place: &usize| {
                    let other = &language.lexicon[chain.words[place]];
                    other.len() >= letters && other[..letters] == word[..letters]
                };
                (0..words).filter(agrees).map(chance).sum()
            };
            if (1..=language.spec.document_tokens).contains(&position) {
                sum -= (agreeing(letter + 1) / agreeing(letter)).ln();
            }
            position += 1;
        }
        before = walk.current;
    }
    sum
}

#[test]
fn words_differ_in_their_first_two_letters() {
    let language = language(|spec| (spec.letters, spec.words) = (8, 64));
    let starts: HashSet<_> = language.lexicon().iter().map(|word| &word[..2]).collect();
    assert_eq!(starts.len(), 64);
    let right = |word: &Vec<u32>| (2..=6).contains(&word.len()) && word.iter().all(|&l| l < 8);
    assert!(language.lexicon().iter().all(right));
}

#[test]
fn any_range_reads_the_same_documents() {
    let documents = Documents::new(Arc::new(language(|_| ())), Split::Train);
    assert_eq!(documents.stored_tokens(), 257 * 400);
    let mut whole = vec![0; 2000];
    documents.copy_range(0, &mut whole);
    for (start, len) in [(0, 1), (256, 2), (255, 1000), (1799, 201)] {
        let mut part = vec![0; len];
        documents.copy_range(start, &mut part);
        assert_eq!(part, whole[start as usize..][..len]);
    }
}

#[test]
fn training_and_held_out_documents_differ_and_hang_on_the_seed() {
    let read = |seed, split| {
        let documents = Documents::new(Arc::new(language(|spec| spec.seed = seed)), split);
        let mut tokens = vec![0; 600];
        documents.copy_range(0, &mut tokens);
        tokens
    };
    assert_eq!(read(1, Split::Train), read(1, Split::Train));
    assert_ne!(read(1, Split::Train), read(2, Split::Train));
    assert_ne!(read(1, Split::Train), read(1, Split::Validation));
}

#[test]
fn successors_form_one_cycle_followed_as_often_as_declared() {
    let language = language(|spec| spec.noise = 0.25);
    let mut walk = language.walk(Split::Train, 3);
    let mut followed = 0;
    walk.next();
    for _ in 0..20_000 {
        let before = walk.current.unwrap();
        walk.next();
        followed += usize::from(walk.current == Some((before + 1) % 12));
    }
    let expected = 0.75 + 0.25 / 12.0;
    assert!((followed as f64 / 20_000.0 - expected).abs() < 0.015);
}

#[test]
fn every_word_follows_one_in_each_dialect_and_few_may_follow_a_word() {
    let (words, choices, documents) = (30, 4, 4000);
    let language = dialects(|spec| {
        (spec.words, spec.choices, spec.dialects) = (words, choices, 50);
        (spec.skew, spec.validation_tokens) = (1.0, 256 * documents);
    });
    let chains: Vec<Chain> = (0..documents)
        .map(|index| language.walk(Split::Validation, index).chain.into_owned())
        .collect();
    let mut follow = vec![HashSet::new(); words];
    for chain in &chains {
        let all: HashSet<usize> = chain.successors.iter().copied().collect();
        assert_eq!((all.len(), chain.words.len()), (words, words));
        for (place, &successor) in chain.successors.iter().enumerate() {
            follow[chain.words[place]].insert(chain.words[successor]);
        }
    }
    let mut groups = follow.iter().map(HashSet::len).collect::<Vec<_>>();
    groups.sort_unstable();
    // Seven groups of four, and the two words that are left.
    assert_eq!(groups[..2], [2, 2]);
    assert!(groups[2..].iter().all(|&group| group == choices));
    // By Zipf's law the first dialect has 1 / (1 + 1/2 + … + 1/50) of all documents.
    let mut counts: Vec<f64> = Vec::new();
    let mut left = chains;
    while let Some(chain) = left.first().cloned() {
        let before = left.len();
        left.retain(|other| *other != chain);
        counts.push((before - left.len()) as f64 / documents as f64);
    }
    counts.sort_by(|a, b| b.total_cmp(a));
    let sum: f64 = (1..=50).map(|rank| 1.0 / f64::from(rank)).sum();
    assert!(
        counts.len() > 40 && (counts[0] - 1.0 / sum).abs() < 0.03,
        "{counts:?}"
    );
}

/// Compares the floor with the mean of what is realised over many documents.
fn check_floor(language: &Language) {
    let excess: Vec<f64> = (0..6_000)
        .map(|i| realised(language, i) - entropy(language, i))
        .collect();
    let mean = excess.iter().sum::<f64>() / 6_000.0;
    let variance = excess.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 5_999.0;
    let error = (variance / 6_000.0).sqrt();
    assert!(
        mean.abs() <= 4.0 * error + 1e-12,
        "{:?}: {mean} ± {error}",
        language.spec
    );
}

#[test]
fn floor_is_the_mean_of_what_is_realised() {
    // Short documents, where the first and the cut words weigh most, and long ones; few
    // letters, so that words share their first.
    for (document_tokens, letters, noise) in [
        (1, 4, 0.3),
        (7, 4, 0.3),
        (7, 24, 0.0),
        (40, 5, 1.0),
        (256, 24, 0.05),
    ] {
        let change = |spec: &mut SyntheticSpec| {
            (spec.letters, spec.words) = (letters, 14);
            (spec.document_tokens, spec.noise) = (document_tokens, noise);
            spec.validation_tokens = 6_000 * document_tokens as u64;
        };
        check_floor(&language(|spec| {
            change(spec);
            spec.document_words = 6;
        }));
        check_floor(&dialects(|spec| {
            change(spec);
            (spec.dialects, spec.choices) = (5, 3);
        }));
    }
}

#[test]
fn floor_of_long_documents_is_the_entropy_of_a_choice_over_the_mean_word() {
    let language = language(|spec| {
        (spec.document_tokens, spec.validation_tokens) = (200_000, 200_000);
    });
    let walk = language.walk(Split::Validation, 0);
    let letters: usize = walk
        .chain
        .words
        .iter()
        .map(|&word| language.lexicon[word].len())
        .sum();
    // Every word is the successor of one: all are visited equally often.
    let (jump, words) = (0.05 / 12.0, 12.0);
    let choice = -plogp(0.95 + jump) - 11.0 * plogp(jump);
    let rate = choice / (letters as f64 / words);
    assert!((language.entropy_floor(Split::Validation) / rate - 1.0).abs() < 1e-3);
}

#[test]
fn floor_is_below_an_n_gram_model() {
    let language = Arc::new(language(|_| ()));
    let read = |split| {
        let documents = Documents::new(language.clone(), split);
        let mut tokens = vec![0; documents.stored_tokens() as usize];
        documents.copy_range(0, &mut tokens);
        tokens
    };
    // Each order up to 3 leans on the one below with the weight of eight observations.
    let mut counts: HashMap<Vec<u32>, f64> = HashMap::new();
    for document in read(Split::Train).chunks(257) {
        for end in 0..257 {
            for order in 0..=3.min(end) {
                *counts
                    .entry(document[end - order..end].to_vec())
                    .or_default() += 1.0;
                let mut gram = document[end - order..=end].to_vec();
                gram.push(u32::MAX);
                *counts.entry(gram).or_default() += 1.0;
            }
        }
    }
    let seen = |gram: &[u32]| counts.get(gram).copied().unwrap_or(0.0);
    let mut loss = 0.0;
    let held_out = read(Split::Validation);
    for document in held_out.chunks(257) {
        for end in 1..257 {
            let mut p = 1.0 / 24.0;
            for order in 0..=3.min(end) {
                let mut gram = document[end - order..=end].to_vec();
                gram.push(u32::MAX);
                p = (seen(&gram) + 8.0 * p) / (seen(&document[end - order..end]) + 8.0);
            }
            loss -= p.ln();
        }
    }
    let loss = loss / (held_out.len() / 257 * 256) as f64;
    let floor = language.entropy_floor(Split::Validation);
    assert!(
        floor < 0.2 && loss < 1.4 && floor < loss,
        "floor {floor}, n-gram {loss}"
    );
}

#[test]
fn impossible_parameters_are_named() {
    type Change = fn(&mut SyntheticSpec);
    let cases: [(&str, Change); 16] = [
        ("letters", |spec| spec.letters = 1),
        ("words", |spec| (spec.letters, spec.words) = (7, 50)),
        ("words", |spec| spec.words = 1),
        ("min_word", |spec| spec.min_word = 1),
        ("max_word", |spec| spec.max_word = 1),
        ("document_words", |spec| spec.document_words = 65),
        ("document_words", |spec| spec.document_words = 1),
        ("document_tokens", |spec| spec.document_tokens = 0),
        ("noise", |spec| spec.noise = f64::NAN),
        ("noise", |spec| spec.noise = 1.5),
        ("train_tokens", |spec| spec.train_tokens = u64::MAX),
        ("validation_tokens", |spec| spec.validation_tokens = 0),
        ("dialects", |spec| spec.language = LanguageKind::Dialects),
        ("dialects", |spec| {
            *spec = SyntheticSpec::of(LanguageKind::Dialects);
            (spec.letters, spec.words) = (64, 4000);
            spec.dialects = 60_000;
        }),
        ("choices", |spec| {
            *spec = SyntheticSpec::of(LanguageKind::Dialects);
            spec.choices = spec.words + 1;
        }),
        ("skew", |spec| {
            *spec = SyntheticSpec::of(LanguageKind::Dialects);
            spec.skew = f64::NAN;
        }),
    ];
    for (name, change) in cases {
        let mut spec = spec();
        change(&mut spec);
        let error = Language::new(&spec).unwrap_err();
        assert!(
            matches!(&error, DataError::Synthetic { field, .. } if *field == name),
            "{name}: {error}"
        );
    }
    let mut spec = spec();
    (spec.letters, spec.words) = (7, 50);
    assert_eq!(
        Language::new(&spec).unwrap_err().to_string(),
        "synthetic `words` is 50; it must lie between 2 and 49: words differ in their first \
         two letters, and 7 letters make 49 pairs"
    );
}
