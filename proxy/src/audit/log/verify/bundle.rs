//! What happened to a bundle of entries: the hashes that it has and those that it must have arrive, a fault leaves.
//! The first place where they differ names the entry; how they go on afterwards tells what was done.

use super::super::tree::Hash;
use super::{Fault, FaultKind};

/// The first fault of a bundle that begins at an index; none if it is as it must be.
#[must_use]
pub fn diagnose(first: u64, found: &[Hash], expected: &[Hash]) -> Option<Fault> {
    let same = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
    let (found, expected) = (found.get(same..)?, expected.get(same..)?);
    let index = first + same as u64;
    let fault = |kind, what: String| Some(Fault::of_entry(index, kind, what));
    if found.is_empty() && expected.is_empty() {
        return None;
    }
    if found.is_empty() {
        let what = format!("the bundle ends here; {} entries of it are missing", expected.len());
        return fault(FaultKind::Missing, what);
    }
    if let Some(removed) = offset_of(expected, found) {
        return fault(FaultKind::Removed, format!("{removed} taken out: what follows is found at an earlier place"));
    }
    if expected.is_empty() || offset_of(found, expected).is_some() {
        return fault(FaultKind::Inserted, "an entry was put in that was not logged".to_owned());
    }
    if is_reordered(found, expected) {
        return fault(FaultKind::Reordered, "entries have changed places".to_owned());
    }
    fault(FaultKind::Changed, "its bytes are not those that were logged".to_owned())
}

/// How many at the beginning of `longer` have to go for the rest to continue like `shorter`.
fn offset_of(longer: &[Hash], shorter: &[Hash]) -> Option<usize> {
    (1..longer.len()).find(|offset| {
        let rest = longer.get(*offset..).unwrap_or_default();
        // A few that follow are enough: a bundle may have been filled up from the next one.
        let compared = rest.len().min(shorter.len());
        let agree = rest.iter().zip(shorter).take_while(|(a, b)| a == b).count();
        agree > 0 && (agree == compared || agree >= CONVINCING)
    })
}

fn is_reordered(found: &[Hash], expected: &[Hash]) -> bool {
    let sorted = |hashes: &[Hash]| {
        let mut hashes = hashes.to_vec();
        hashes.sort_unstable();
        hashes
    };
    sorted(found) == sorted(expected)
}

/// So many equal hashes in a row are no coincidence.
const CONVINCING: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::super::tree::tests::leaves;
    use super::*;

    #[test]
    fn each_kind_of_tampering_is_named_at_the_first_entry_that_it_touches() {
        let good = leaves(256);
        assert_eq!(diagnose(512, &good, &good), None);
        let check = |bad: Vec<Hash>, kind, entry: u64| {
            let fault = diagnose(512, &bad, &good).unwrap();
            assert_eq!((fault.kind, fault.entry), (kind, Some(512 + entry)), "{}", fault.what);
        };
        let mut bad = good.clone();
        bad[7] = [0; 32];
        check(bad, FaultKind::Changed, 7);
        let mut bad = good.clone();
        bad.remove(7);
        check(bad.clone(), FaultKind::Removed, 7);
        bad.push([1; 32]);
        check(bad, FaultKind::Removed, 7);
        let mut bad = good.clone();
        bad.insert(9, [0; 32]);
        check(bad.clone(), FaultKind::Inserted, 9);
        bad.pop();
        check(bad, FaultKind::Inserted, 9);
        let mut bad = good.clone();
        bad.swap(100, 200);
        check(bad, FaultKind::Reordered, 100);
        check(good[..250].to_vec(), FaultKind::Missing, 250);
        check([&good[..], &[[0; 32]]].concat(), FaultKind::Inserted, 256);
        let mut bad = good.clone();
        bad[255] = [0; 32];
        check(bad, FaultKind::Changed, 255);
    }
}
