//! The search for an order: every configuration that the returns so far allow.
//!
//! It does not say which order it found, only whether there is one.

use std::collections::BTreeSet;

use super::history::{History, UnknownTry};
use super::model::Lock;
use crate::checkers::linear::history::Known;

/// The most configurations that are kept from one return to the next.
const CONFIGURATIONS_MAX: usize = 512;
/// The most configurations that are looked at for one history.
const VISITS_MAX: usize = 400_000;

/// What the search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linear,
    /// There is none: where it ended, in words.
    Broken(String),
    /// The search was given up.
    Undecided,
}

/// How often a try with an unknown outcome may take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tries {
    /// As it is.
    Once,
    /// As it is not: allows more, and is searched faster.
    Often,
}

/// One way in which things may have gone so far.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Configuration {
    lock: Lock,
    /// Operations that took effect and have not returned, in order of number.
    done: BTreeSet<usize>,
    /// Unknown tries that took effect.
    used: BTreeSet<usize>,
}

impl Configuration {
    fn with(&self, lock: Lock) -> Self {
        Self { lock, ..self.clone() }
    }

    /// Whether everything that may follow `other` may follow this too.
    fn is_as_good_as(&self, other: &Self) -> bool {
        let ends = |lock: Lock| lock.holder.map_or(0, |holder| holder.ends_ns);
        let rest = |lock: Lock| (lock.token_min, lock.holder.map(|holder| (holder.owner, holder.token)));
        rest(self.lock) == rest(other.lock)
            && self.done == other.done
            && ends(self.lock) <= ends(other.lock)
            && self.used.is_subset(&other.used)
    }
}

/// Whether the history has an order.
pub fn search(history: &History<'_>, tries: Tries) -> Verdict {
    let mut search = Search {
        history,
        tries,
        open: BTreeSet::new(),
        visits: 0,
    };
    let mut returns: Vec<usize> = (0..history.known.len()).collect();
    returns.sort_by_key(|at| history.known[*at].return_ns);
    let first = Configuration {
        lock: Lock::FREE,
        done: BTreeSet::new(),
        used: BTreeSet::new(),
    };
    let (mut frontier, mut called) = (vec![first], 0);
    for returning in returns {
        let now_ns = history.known[returning].return_ns;
        while history
            .known
            .get(called)
            .is_some_and(|known| known.operation.call_ns <= now_ns)
        {
            search.open.insert(called);
            called += 1;
        }
        let next = search.pass(&frontier, returning);
        if search.visits > VISITS_MAX || next.len() > CONFIGURATIONS_MAX {
            return Verdict::Undecided;
        }
        if next.is_empty() {
            return Verdict::Broken(search.explain(&frontier, returning));
        }
        search.open.remove(&returning);
        frontier = next;
    }
    Verdict::Linear
}

struct Search<'h, 'e> {
    history: &'h History<'e>,
    tries: Tries,
    /// Operations that were called and have not returned.
    open: BTreeSet<usize>,
    visits: usize,
}

impl<'h, 'e> Search<'h, 'e> {
    /// All configurations after the return of one operation.
    fn pass(&mut self, frontier: &[Configuration], returning: usize) -> Vec<Configuration> {
        let mut seen = BTreeSet::new();
        let mut reached = BTreeSet::new();
        let mut stack = Vec::new();
        for configuration in frontier {
            self.visit(configuration.clone(), &mut seen, &mut stack);
        }
        while let Some(mut configuration) = stack.pop() {
            if self.visits > VISITS_MAX {
                break;
            }
            if configuration.done.remove(&returning) {
                reached.insert(configuration);
            } else {
                for next in self.steps(&configuration, self.history.known[returning].return_ns) {
                    self.visit(next, &mut seen, &mut stack);
                }
            }
        }
        keep_the_best(reached)
    }

    fn visit(&mut self, next: Configuration, seen: &mut BTreeSet<Configuration>, stack: &mut Vec<Configuration>) {
        let next = self.settle(next);
        self.visits += 1;
        if self.is_possible(&next) && seen.insert(next.clone()) {
            stack.push(next);
        }
    }

    /// Puts every open operation that changes nothing into the order.
    fn settle(&self, mut configuration: Configuration) -> Configuration {
        for (at, known) in self.waiting(&configuration).collect::<Vec<_>>() {
            if configuration.lock.is_unchanged_by(known)
                && let Some(lock) = configuration.lock.answer(known)
            {
                configuration.lock = lock;
                configuration.done.insert(at);
            }
        }
        configuration
    }

    /// Whether no open operation has a token that was passed.
    fn is_possible(&self, configuration: &Configuration) -> bool {
        let least = configuration.lock.token_least();
        self.waiting(configuration)
            .all(|(_, known)| known.token == 0 || known.token >= least)
    }

    /// The open operations that have not taken effect.
    fn waiting(&self, configuration: &Configuration) -> impl Iterator<Item = (usize, &'h Known<'e>)> {
        let history = self.history;
        let waiting: Vec<_> = self.open.difference(&configuration.done).copied().collect();
        waiting.into_iter().map(move |at| (at, &history.known[at]))
    }

    /// What may happen next, at `now_ns` or before.
    fn steps(&self, configuration: &Configuration, now_ns: u64) -> Vec<Configuration> {
        let mut steps = Vec::new();
        for (at, known) in self.waiting(configuration) {
            if let Some(lock) = configuration.lock.answer(known) {
                let mut next = configuration.with(lock);
                next.done.insert(at);
                steps.push(next);
            }
        }
        match configuration.lock.holder {
            Some(holder) if self.history.may_end_ns(holder.owner, holder.ends_ns) <= now_ns => {
                steps.push(configuration.with(configuration.lock.freed()));
            }
            Some(_) => {}
            None => self.grant_unknown(configuration, now_ns, &mut steps),
        }
        steps
    }

    /// Lets unknown tries take effect, where that lets an open operation take effect.
    fn grant_unknown(&self, configuration: &Configuration, now_ns: u64, steps: &mut Vec<Configuration>) {
        for (at, unknown) in self.candidates(configuration, now_ns) {
            let lock = configuration.lock.granted_unseen(unknown.owner, unknown.ends_ns);
            if self
                .waiting(configuration)
                .any(|(_, known)| lock.answer(known).is_some())
            {
                let mut next = configuration.with(lock);
                if self.tries == Tries::Once {
                    next.used.insert(at);
                }
                steps.push(next);
            }
        }
    }

    /// Unknown tries that may take effect: of each owner that is still heard of, and of all others together, the one that may end first.
    fn candidates(&self, configuration: &Configuration, now_ns: u64) -> Vec<(usize, &'h UnknownTry)> {
        let called = self
            .history
            .tries
            .iter()
            .enumerate()
            .take_while(|(_, unknown)| unknown.call_ns <= now_ns);
        let mut best: Vec<(usize, &UnknownTry)> = Vec::new();
        for (at, unknown) in called.filter(|(at, _)| !configuration.used.contains(at)) {
            let kind = |unknown: &UnknownTry| self.history.is_heard_of(unknown.owner, now_ns).then_some(unknown.owner);
            let ends = |unknown: &UnknownTry| self.history.may_end_ns(unknown.owner, unknown.ends_ns);
            match best.iter_mut().find(|(_, other)| kind(other) == kind(unknown)) {
                Some(other) if ends(unknown) < ends(other.1) => *other = (at, unknown),
                Some(_) => {}
                None => best.push((at, unknown)),
            }
        }
        best
    }

    fn explain(&self, frontier: &[Configuration], returning: usize) -> String {
        let known = &self.history.known[returning];
        let name = |owner: u32| self.history.owners[usize::try_from(owner).expect("32 bits")];
        let state = |configuration: &Configuration| match configuration.lock.holder {
            None => format!("free, next token at least {}", configuration.lock.token_min),
            Some(holder) => format!(
                "held by {} under token {} until {} ns or later",
                name(holder.owner),
                holder.token,
                self.history.may_end_ns(holder.owner, holder.ends_ns)
            ),
        };
        let states: BTreeSet<String> = frontier.iter().map(state).collect();
        let states: Vec<String> = states.into_iter().take(3).collect();
        format!(
            "no order explains {:?}; before it the lock was {}; with it were open {:?}",
            known.operation,
            states.join(", or "),
            self.open
                .iter()
                .map(|at| self.history.known[*at].operation)
                .collect::<Vec<_>>()
        )
    }
}

/// Drops configurations that are in no way better than another.
fn keep_the_best(reached: BTreeSet<Configuration>) -> Vec<Configuration> {
    let mut best: Vec<Configuration> = Vec::new();
    for configuration in reached {
        if !best.iter().any(|other| other.is_as_good_as(&configuration)) {
            best.retain(|other| !configuration.is_as_good_as(other));
            best.push(configuration);
        }
    }
    best
}
