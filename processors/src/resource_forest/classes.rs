//! Who is of which class, which features a class has, and which series tells which of them.

use std::collections::BTreeMap;

use analytics::CounterRate;
use analytics::forest::{ClassScores, ResourceScores, StreamingConfig, StreamingForest};
use analytics::peers::Group;
use schemas::Micros;
use schemas::time::{DAY, MINUTE};

use super::rows::Mean;
use super::{Class, Member, ResourceForests, Told, UNSEEN, WITHOUT_FEATURE, features};
use crate::series_table::SeriesTable;

/// Classes of resources in one partition at most; resources of further ones are not watched. 16: each holds a megabyte, and a fleet that names
/// more kinds of things than that names single things.
const CLASSES_MAX: usize = 16;
/// After this time, and each day, the features of a class are chosen from what its resources have. 10 min: every collector has spoken by then.
const CHOICE_AFTER: Micros = 10 * MINUTE;

impl ResourceForests {
    /// Takes note of a series that is seen for the first time: whose it is, and whether it has a feature. Returns its place.
    pub(super) fn meet(&mut self, series: u32, minute: Micros, table: &SeriesTable) -> u32 {
        let index = series as usize;
        if index >= self.of_series.len() {
            self.of_series.resize(index + 1, UNSEEN);
        }
        let member = self.member(table.resources().of(series), minute, table);
        if let Some(member) = member {
            self.recognise(series, member, minute, table);
        }
        let place = member
            .and_then(|member| self.tell(series, member, CounterRate::default(), table))
            .unwrap_or(WITHOUT_FEATURE);
        self.of_series[index] = place;
        place
    }

    /// The place of a resource among the members; `None` if its class is one too many, or it is not named.
    fn member(&mut self, resource: u32, minute: Micros, table: &SeriesTable) -> Option<u32> {
        if let Some(member) = self.member_of.get(&resource) {
            return Some(*member);
        }
        let name = features::class_of(table.resources().get(resource).labels())?;
        let class = self.class(name, minute)?;
        let features = self.classes[class].features.len();
        let member = self.members.len() as u32;
        self.members.push(Member {
            resource,
            class: class as u16,
            open: vec![Mean::default(); features],
            scores: ResourceScores::default(),
        });
        self.member_of.insert(resource, member);
        Some(member)
    }

    /// The place of a class, which is made if it is new; `None` if it is one too many.
    pub(super) fn class(&mut self, name: String, minute: Micros) -> Option<usize> {
        let known = self.classes.iter().position(|class| class.name == name);
        if known.is_some() || self.classes.len() == CLASSES_MAX {
            return known;
        }
        self.classes.push(Class {
            name,
            choice_at: minute + CHOICE_AFTER,
            features: Vec::new(),
            forest: None,
            refit_at: Micros::MAX,
            grown_from: 0,
            places: Vec::new(),
            scores: ClassScores::default(),
        });
        Some(self.classes.len() - 1)
    }

    /// Gives a series its feature, if its member's class has it. Returns its place.
    fn tell(
        &mut self,
        series: u32,
        member: u32,
        rate: CounterRate,
        table: &SeriesTable,
    ) -> Option<u32> {
        let class = &self.classes[usize::from(self.members[member as usize].class)];
        let name = features::name_of(&table.directory()[series as usize]);
        let feature = class.features.iter().position(|feature| *feature == name)?;
        self.told.push(Told {
            member,
            feature: feature as u16,
            rate,
        });
        Some(self.told.len() as u32 + 1)
    }

    /// Chooses the features of the classes that are due. A class whose features change starts anew.
    pub(super) fn choose(&mut self, now: Micros, table: &SeriesTable) {
        let mut owners: Vec<BTreeMap<String, features::Owners>> =
            vec![BTreeMap::new(); self.classes.len()];
        let seen = self.of_series.iter().enumerate();
        for (series, _) in seen.filter(|(_, place)| **place != UNSEEN) {
            let resource = table.resources().of(series as u32);
            let Some(member) = self.member_of.get(&resource) else {
                continue;
            };
            let class = usize::from(self.members[*member as usize].class);
            if self.classes[class].choice_at <= now {
                let name = features::name_of(&table.directory()[series]);
                owners[class].entry(name).or_default().note(*member);
            }
        }
        let mut changed = false;
        for (index, owners) in owners.into_iter().enumerate() {
            let class = &mut self.classes[index];
            if class.choice_at > now {
                continue;
            }
            class.choice_at = now + DAY;
            let members = self.members.iter_mut();
            let members: Vec<&mut Member> = members
                .filter(|member| usize::from(member.class) == index)
                .collect();
            let features = features::choose(owners, members.len());
            if features == class.features {
                continue;
            }
            changed = true;
            for member in members {
                member.open = vec![Mean::default(); features.len()];
                member.scores = ResourceScores::default();
            }
            // The settings are constants within their ranges, and features are few.
            let config = StreamingConfig {
                relations: true,
                ..StreamingConfig::default()
            };
            class.forest = StreamingForest::try_new(config, features.len())
                .ok()
                .filter(|_| !features.is_empty());
            (class.refit_at, class.grown_from) = (Micros::MAX, 0);
            class.places = vec![Group::default(); features.len()];
            class.scores = ClassScores::default();
            class.features = features;
        }
        if changed {
            self.tell_all(table);
        }
    }

    /// Gives every series its feature anew.
    pub(super) fn tell_all(&mut self, table: &SeriesTable) {
        let before = std::mem::take(&mut self.told);
        for series in 0..self.of_series.len() {
            let place = self.of_series[series];
            if place == UNSEEN {
                continue;
            }
            let rate = place
                .checked_sub(2)
                .map_or_else(CounterRate::default, |told| before[told as usize].rate);
            let member = self.member_of.get(&table.resources().of(series as u32));
            self.of_series[series] = member
                .copied()
                .and_then(|member| self.tell(series as u32, member, rate, table))
                .unwrap_or(WITHOUT_FEATURE);
        }
    }
}
