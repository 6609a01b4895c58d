//! A recorded storm as a sequence diagram: a lane for each node, time running down, queries and replies joined by colour and
//! number. It is plain SVG.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::storm::Recording;
use crate::transcript::{Ending, Entry, Names, What, since_beginning};
use egtp::Reason;

const MARGIN: usize = 150;
const LANE: usize = 300;
const TOP: usize = 90;
const ROW: usize = 20;

/// Colours that are told apart on white; red is kept for what goes wrong.
const COLOURS: [&str; 6] = ["#1f77b4", "#2a8a2a", "#8a5fb5", "#8c564b", "#0e9aa7", "#b8860b"];
const WRONG: &str = "#d62728";
const CRASHED: &str = "#222";
const FROZEN: &str = "#999";
const CUT_OFF: &str = "#ccc";

/// Draws what happened, one row for each entry of the transcript; what nodes look up, dial and note for themselves is left out.
pub fn svg(recording: &Recording) -> String {
    let shown: Vec<&Entry> = recording.transcript.iter().filter(|entry| is_shown(&entry.what)).collect();
    let mut diagram = Diagram {
        svg: String::new(),
        bottom: TOP + ROW * (shown.len() + 1),
        lanes: recording.scenario.nodes.len(),
        names: recording.names(),
    };
    diagram.head(recording);
    diagram.states(&shown);
    diagram.messages(&shown);
    for (row, entry) in shown.iter().enumerate() {
        diagram.row(row, entry, &shown);
    }
    diagram.svg + "</svg>\n"
}

fn is_shown(what: &What) -> bool {
    !matches!(what, What::LooksUp { .. } | What::Dials { .. } | What::Noted { .. })
}

struct Diagram {
    svg: String,
    bottom: usize,
    lanes: usize,
    names: Names,
}

impl Diagram {
    fn head(&mut self, recording: &Recording) {
        let (width, height) = (MARGIN + LANE * self.lanes, self.bottom + 30);
        self.add(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
             orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"context-stroke\"/></marker></defs>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
        ));
        let title = format!("{}: {}", recording.source, recording.scenario.network_in_words());
        self.text(10, 20, "#000", "start", &title);
        let legend = "solid: query; dashed: reply; hollow: its handler has it; light grey: cut off; grey: frozen; black: crashed";
        self.text(10, 38, "#555", "start", legend);
        for (lane, setup) in recording.scenario.nodes.iter().enumerate() {
            let (x, name) = (x_of(lane), &setup.name);
            self.add(&format!("<path d=\"M{x} {TOP}V{}\" stroke=\"#bbb\"/>", self.bottom));
            self.add(&format!(
                "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"bold\" font-size=\"14\">{name}</text>",
                TOP - 16
            ));
        }
    }

    /// Bars along the lanes while a node is frozen, cut off or gone.
    fn states(&mut self, shown: &[&Entry]) {
        let mut since: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        let mut bars = Vec::new();
        for (row, entry) in shown.iter().enumerate() {
            if entry.what == What::Heals {
                bars.extend(std::mem::take(&mut since).into_iter().map(|(state, from)| (state, from, row)));
            }
            let Some(lane) = entry.node.map(|node| node.number()) else { continue };
            match &entry.what {
                What::Crashes | What::PowerOff => _ = since.insert((lane, CRASHED), row),
                What::Freezes => _ = since.insert((lane, FROZEN), row),
                What::Silent(true) => _ = since.insert((lane, CUT_OFF), row),
                What::Starts => bars.extend(since.remove(&(lane, CRASHED)).map(|from| ((lane, CRASHED), from, row))),
                What::Thaws => bars.extend(since.remove(&(lane, FROZEN)).map(|from| ((lane, FROZEN), from, row))),
                What::Silent(false) => {
                    bars.extend(since.remove(&(lane, CUT_OFF)).map(|from| ((lane, CUT_OFF), from, row)));
                }
                _ => {}
            }
        }
        bars.extend(since.into_iter().map(|(state, from)| (state, from, shown.len())));
        // What hides more is drawn later: being cut off is the widest bar and lies below the others.
        bars.sort_unstable_by(|one, other| other.cmp(one));
        for ((lane, colour), from, to) in bars {
            let width = if colour == CUT_OFF { 16 } else { 8 };
            let (x, y, height) = (x_of(lane) - width / 2, y_of(from), ROW * (to - from));
            self.add(&format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{colour}\"/>"));
        }
    }

    /// The arrows from asking to arriving, and from answering to the verdict.
    fn messages(&mut self, shown: &[&Entry]) {
        let mut asked = BTreeMap::new();
        let mut answered = BTreeMap::new();
        for (row, entry) in shown.iter().enumerate() {
            let Some(lane) = entry.node.map(|node| node.number()) else { continue };
            match &entry.what {
                What::Asks { query, .. } => _ = asked.insert(query, (lane, row)),
                What::Arrives { query, .. } => {
                    if let Some(&from) = asked.get(&query) {
                        self.arrow(from, (lane, row), colour_of(*query), "");
                        let (x, y) = (x_of(lane), y_of(row));
                        let colour = colour_of(*query);
                        self.add(&format!(
                            "<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" fill=\"white\" stroke=\"{colour}\"/>"
                        ));
                    }
                }
                What::Answers { query, .. } | What::Declines { query } => _ = answered.insert(query, (lane, row)),
                What::Ends { query, ending } => {
                    let came = match ending {
                        Ending::Reply { .. } => true,
                        Ending::Failed(failure) => matches!(failure.reason, Reason::RefusedByPeer(_)),
                    };
                    if let (true, Some(&from)) = (came, answered.get(&query)) {
                        self.arrow(from, (lane, row), colour_of(*query), " stroke-dasharray=\"5 3\"");
                    }
                }
                _ => {}
            }
        }
    }

    fn row(&mut self, row: usize, entry: &Entry, shown: &[&Entry]) {
        let y = y_of(row);
        if row == 0 || shown[row - 1].at != entry.at {
            self.text(MARGIN - 50, y + 4, "#777", "end", &since_beginning(entry.at).to_string());
        }
        let Some(lane) = entry.node.map(|node| node.number()) else {
            let right = MARGIN + LANE * self.lanes - LANE / 2;
            self.add(&format!("<path d=\"M{MARGIN} {y}H{right}\" stroke=\"#777\" stroke-dasharray=\"1 4\"/>"));
            return self.text(MARGIN, y - 3, "#555", "start", &self.names.what(&entry.what));
        };
        let x = x_of(lane) + 10;
        match &entry.what {
            What::Asks { query, to, type_name, bytes, .. } => {
                let label = format!("#{query} {type_name} to {}, {bytes} B", self.names.of(*to));
                self.dot(lane, row, colour_of(*query));
                self.text(x, y + 4, colour_of(*query), "start", &label);
            }
            What::Arrives { query, .. } => {
                self.text(x, y + 4, colour_of(*query), "start", &format!("#{query} arrives"));
            }
            What::Answers { query, bytes } => {
                self.text(x, y + 4, colour_of(*query), "start", &format!("#{query} answered, {bytes} B"));
            }
            What::Ends { query, ending } => self.ending(lane, row, *query, ending),
            What::Cut { other } => {
                let (from, to) = (x_of(lane), x_of(other.number()));
                let middle = usize::midpoint(from, to);
                if from != to {
                    self.add(&format!("<path d=\"M{from} {y}H{to}\" stroke=\"{WRONG}\" stroke-dasharray=\"2 3\"/>"));
                }
                self.cross(middle, y);
                self.text(middle + 10, y + 4, WRONG, "start", "cut");
            }
            What::SoftTimeout { query } => {
                self.text(x, y + 4, colour_of(*query), "start", &format!("#{query} takes long"));
            }
            What::Cancels { query } => {
                self.text(x, y + 4, colour_of(*query), "start", &format!("#{query} cancelled by the asker"));
            }
            other => self.text(x, y + 4, "#555", "start", &self.names.what(other)),
        }
    }

    fn ending(&mut self, lane: usize, row: usize, query: usize, ending: &Ending) {
        let (x, y) = (x_of(lane), y_of(row));
        match ending {
            Ending::Reply { .. } => {
                self.dot(lane, row, colour_of(query));
                self.text(x + 10, y + 4, colour_of(query), "start", &format!("#{query} has its reply"));
            }
            Ending::Failed(failure) => {
                let label = match failure.reason {
                    Reason::HardTimeout => "timeout",
                    Reason::Unreachable => "fast fail",
                    reason => reason.name(),
                };
                if failure.reason == Reason::HardTimeout {
                    self.add(&format!(
                        "<circle cx=\"{x}\" cy=\"{y}\" r=\"6\" fill=\"white\" stroke=\"{WRONG}\"/>\
                         <path d=\"M{x} {}V{y}H{}\" fill=\"none\" stroke=\"{WRONG}\"/>",
                        y - 4,
                        x + 3
                    ));
                } else {
                    self.cross(x, y);
                }
                let told = format!("#{query} {label} ({:?}, executed: {:?})", failure.stage, failure.executed);
                self.text(x + 10, y + 4, WRONG, "start", &told);
            }
        }
    }

    fn arrow(&mut self, from: (usize, usize), to: (usize, usize), colour: &str, dash: &str) {
        let (x1, y1, x2, y2) = (x_of(from.0), y_of(from.1), x_of(to.0), y_of(to.1));
        // From a lane to itself it goes out to the left and comes back.
        let path = if x1 == x2 {
            format!("M{x1} {y1}C{0} {y1} {0} {y2} {x2} {y2}", x1 - 50)
        } else {
            format!("M{x1} {y1}L{x2} {y2}")
        };
        self.add(&format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\"{dash} marker-end=\"url(#tip)\"/>"));
    }

    fn dot(&mut self, lane: usize, row: usize, colour: &str) {
        self.add(&format!("<circle cx=\"{}\" cy=\"{}\" r=\"3\" fill=\"{colour}\"/>", x_of(lane), y_of(row)));
    }

    fn cross(&mut self, x: usize, y: usize) {
        let (left, right, top, bottom) = (x - 5, x + 5, y - 5, y + 5);
        self.add(&format!(
            "<path d=\"M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}\" stroke=\"{WRONG}\" stroke-width=\"2\"/>"
        ));
    }

    /// Text with a white edge, so that it can be read across lines.
    fn text(&mut self, x: usize, y: usize, colour: &str, anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.add(&format!(
            "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\" text-anchor=\"{anchor}\" stroke=\"white\" stroke-width=\"3\" \
             paint-order=\"stroke\">{text}</text>"
        ));
    }

    fn add(&mut self, element: &str) {
        let _never = writeln!(self.svg, "{element}");
    }
}

fn x_of(lane: usize) -> usize {
    MARGIN + LANE * lane
}

fn y_of(row: usize) -> usize {
    TOP + ROW * (row + 1)
}

fn colour_of(query: usize) -> &'static str {
    COLOURS[query % COLOURS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::{Settings, record};

    #[test]
    fn every_query_and_every_failure_is_drawn() {
        let recording = record(9, &Settings::default());
        let svg = svg(&recording);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        let replies = |what: &What| matches!(what, What::Ends { ending: Ending::Reply { .. }, .. });
        let count = recording.transcript.iter().filter(|entry| replies(&entry.what)).count();
        assert_eq!(svg.matches(" has its reply</text>").count(), count);
        for query in 0..usize::try_from(recording.outcome.queries).unwrap() {
            assert!(svg.contains(&format!(">#{query} ")), "query {query}");
        }
    }
}
