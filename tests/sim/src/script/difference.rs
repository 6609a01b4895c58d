//! Where two texts differ, for people.

/// So many equal lines are shown before and after what differs.
const CONTEXT: usize = 3;

/// The lines in which two texts differ: those of the one with `-` before them, those of the other with `+`, and a few equal ones
/// around them. Nothing if the texts are equal.
pub fn difference(one: &str, other: &str) -> String {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.lines().collect(), other.lines().collect());
    let mut told = Vec::new();
    let (mut left, mut right) = (0, 0);
    for (next_left, next_right) in common(&one, &other).into_iter().chain([(one.len(), other.len())]) {
        told.extend(one[left..next_left].iter().map(|line| ('-', *line)));
        told.extend(other[right..next_right].iter().map(|line| ('+', *line)));
        told.extend(one.get(next_left).map(|line| (' ', *line)));
        (left, right) = (next_left + 1, next_right + 1);
    }
    let is_near = |at: usize| {
        let around = &told[at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(told.len())];
        around.iter().any(|&(sign, _)| sign != ' ')
    };
    let shown = told.iter().enumerate().filter(|&(at, _)| is_near(at));
    shown.map(|(_, (sign, line))| format!("{sign} {line}\n")).collect()
}

/// The places of a longest common subsequence.
fn common(one: &[&str], other: &[&str]) -> Vec<(usize, usize)> {
    let width = other.len() + 1;
    let mut longest = vec![0_usize; (one.len() + 1) * width];
    for left in (0..one.len()).rev() {
        for right in (0..other.len()).rev() {
            longest[left * width + right] = if one[left] == other[right] {
                longest[(left + 1) * width + right + 1] + 1
            } else {
                longest[(left + 1) * width + right].max(longest[left * width + right + 1])
            };
        }
    }
    let (mut left, mut right, mut places) = (0, 0, Vec::new());
    while left < one.len() && right < other.len() {
        if one[left] == other[right] {
            places.push((left, right));
            (left, right) = (left + 1, right + 1);
        } else if longest[(left + 1) * width + right] >= longest[left * width + right + 1] {
            left += 1;
        } else {
            right += 1;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown_with_a_few_lines_around_it() {
        let one = "a\nb\nc\nd\ne\nf\ng\nh\n";
        assert_eq!(difference(one, one), "");
        assert_eq!(difference(one, "a\nb\nc\nd\nE\nf\ng\nh\n"), "  b\n  c\n  d\n- e\n+ E\n  f\n  g\n  h\n");
        assert_eq!(difference(one, "b\nc\nd\ne\nf\ng\nh\ni\n"), "- a\n  b\n  c\n  d\n  f\n  g\n  h\n+ i\n");
        assert_eq!(difference("", "a\n"), "+ a\n");
    }
}
