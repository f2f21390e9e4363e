//! What the oracle met: which pairs of operators, over which inputs, and how large its epochs were.
//!
//! Counts comparisons; a pair is two operators in one query, views inlined. Judges nothing.

use std::collections::{BTreeMap, BTreeSet};

/// The operators, and what a query that has one contains.
const OPERATORS: [(&str, &[&str]); 18] = [
    ("join", &[" JOIN "]),
    ("left join", &[" LEFT-JOIN "]),
    ("right join", &[" RIGHT-JOIN "]),
    ("full join", &[" FULL-JOIN "]),
    ("exists", &["EXISTS (SELECT"]),
    ("in", &[" IN (SELECT"]),
    ("not in", &[" NOT-IN (SELECT"]),
    ("any, all", &[" ANY (SELECT", " ALL (SELECT"]),
    ("scalar subquery", &["(SELECT max(", "(SELECT sum(", "(SELECT count("]),
    ("where", &[" WHERE "]),
    ("group by", &[" GROUP BY "]),
    ("having", &[" HAVING "]),
    ("distinct", &["SELECT DISTINCT "]),
    ("distinct aggregate", &["(DISTINCT "]),
    ("union", &[" UNION "]),
    ("intersect, except", &[" INTERSECT ", " EXCEPT "]),
    ("limit", &[" LIMIT "]),
    ("window", &[" OVER ("]),
];

/// What inputs may be like.
const INPUTS: [&str; 4] = ["nulls", "duplicates", "an empty input", "a hot key"];

/// What the rows of one source or table are like, as in [`INPUTS`].
pub(crate) type Traits = [bool; INPUTS.len()];

/// Changes from which on an epoch counts as large.
const LARGE: i64 = 1000;

/// What was met.
#[derive(Default)]
pub(crate) struct Coverage {
    pairs: BTreeMap<(usize, usize), [usize; INPUTS.len() + 1]>,
    /// Steps that changed something, and those of them with [`LARGE`] changes or more.
    steps: usize,
    large: usize,
}

impl std::fmt::Debug for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("below")
    }
}

impl Coverage {
    /// A comparison of a query, views inlined, over inputs of these traits.
    pub(crate) fn compared(&mut self, sql: &str, traits: &[Traits]) {
        // What has two words is one operator.
        let words = ["LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "NOT IN"];
        let sql = words.iter().fold(sql.to_string(), |sql, words| sql.replace(words, &words.replace(' ', "-")));
        let has = |(_, marks): &(&str, &[&str])| marks.iter().any(|mark| sql.contains(mark));
        let met: BTreeSet<usize> = (0..OPERATORS.len()).filter(|place| has(&OPERATORS[*place])).collect();
        for one in &met {
            for other in met.range(one..) {
                let counts = self.pairs.entry((*one, *other)).or_default();
                counts[INPUTS.len()] += 1;
                for (place, count) in counts.iter_mut().take(INPUTS.len()).enumerate() {
                    *count += usize::from(traits.iter().any(|traits| traits[place]));
                }
            }
        }
    }

    /// An epoch that must have had so many changes.
    pub(crate) fn changed(&mut self, changes: i64) {
        self.steps += 1;
        self.large += usize::from(changes >= LARGE);
    }

    /// Adds another round's.
    pub(crate) fn add(&mut self, other: &Coverage) {
        for (pair, counts) in &other.pairs {
            let sums = self.pairs.entry(*pair).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        self.steps += other.steps;
        self.large += other.large;
    }

    /// The table, and what is missing in it.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("comparisons by pair of operators:\n");
        for (one, (name, _)) in OPERATORS.iter().enumerate() {
            let counts: Vec<String> =
                (0..=one).map(|other| format!("{:5}", self.of(other, one)[INPUTS.len()])).collect();
            text.push_str(&format!("  {name:18}{}\n", counts.join("")));
        }
        let all = OPERATORS.len() * (OPERATORS.len() + 1) / 2;
        for (place, input) in INPUTS.iter().enumerate() {
            let pairs = (0..OPERATORS.len()).flat_map(|one| (0..=one).map(move |other| (other, one)));
            let missing: Vec<String> = pairs
                .filter(|(one, other)| self.of(*one, *other)[place] == 0)
                .map(|(one, other)| format!("{}/{}", OPERATORS[one].0, OPERATORS[other].0))
                .collect();
            let missing_of = if missing.is_empty() { String::new() } else { format!("; not: {}", missing.join(", ")) };
            text.push_str(&format!("with {input}: {} of {all} pairs{missing_of}\n", all - missing.len()));
        }
        let share = 100.0 * self.large as f64 / self.steps.max(1) as f64;
        text.push_str(&format!(
            "{} of {} epochs that changed tables, {share:.0} %, had {LARGE} changes or more\n",
            self.large, self.steps
        ));
        text
    }

    fn of(&self, one: usize, other: usize) -> [usize; INPUTS.len() + 1] {
        self.pairs.get(&(one, other)).copied().unwrap_or_default()
    }
}

/// The query that asks PostgreSQL for the traits of a table whose columns are `k0`, `k1`, ...
pub(crate) fn traits_of(table: &str) -> String {
    let hot = ["k1", "k3", "k6"]
        .map(|column| format!("(SELECT max(n) FROM (SELECT count(*) AS n FROM {table} GROUP BY {column}) x)"));
    format!(
        "SELECT coalesce(bool_or(NOT (t IS NOT NULL)), false), count(*) > count(DISTINCT t::text), count(*) = 0, \
         count(*) >= 20 AND 2 * greatest({}) > count(*) FROM {table} t",
        hot.join(", ")
    )
}
