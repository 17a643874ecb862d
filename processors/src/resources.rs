//! Which series speak for one resource. Rebuilt from the directory, so it is never saved.

use hashbrown::HashMap;
use schemas::{Labels, Resource};

/// The resources of a partition by their index, in the order of first appearance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resources {
    /// By series index.
    of_series: Vec<u32>,
    /// By resource index.
    resources: Vec<Resource>,
    /// By resource index: its series, in the order of first appearance.
    members: Vec<Vec<u32>>,
    index: HashMap<Labels, u32, foldhash::fast::RandomState>,
    /// For the form by which a resource is looked up.
    canonical: Vec<u8>,
}

impl Resources {
    /// Notes the resource of the next series.
    pub(crate) fn push(&mut self, labels: &Labels) {
        self.canonical.clear();
        Resource::canonical_of(labels, &mut self.canonical);
        let found = match self.index.get(&self.canonical[..]) {
            Some(known) => *known,
            None => self.meet(Resource::of(labels)),
        };
        self.members[found as usize].push(self.of_series.len() as u32);
        self.of_series.push(found);
    }

    fn meet(&mut self, resource: Resource) -> u32 {
        let index = self.resources.len() as u32;
        self.index.insert(resource.labels().clone(), index);
        self.resources.push(resource);
        self.members.push(Vec::new());
        index
    }

    /// The resource of a series, both by index.
    pub(crate) fn of(&self, series: u32) -> u32 {
        self.of_series[series as usize]
    }

    /// The series of a resource.
    pub(crate) fn series(&self, resource: u32) -> &[u32] {
        &self.members[resource as usize]
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.resources.len()
    }

    /// A resource by its index.
    pub(crate) fn get(&self, resource: u32) -> &Resource {
        &self.resources[resource as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_resource_share_its_index() {
        let mut resources = Resources::default();
        for labels in [
            &[("host.name", "a"), ("cpu", "0")][..],
            &[("host.name", "b")],
            &[("host.name", "a"), ("cpu", "1")],
            &[("cpu", "0")],
        ] {
            resources.push(&Labels::try_new(labels.iter().copied()).unwrap());
        }
        let found: Vec<u32> = (0..4).map(|series| resources.of(series)).collect();
        assert_eq!((found, resources.len()), (vec![0, 1, 0, 2], 3));
        assert_eq!(resources.series(0), [0, 2]);
        assert_eq!(resources.get(1).labels().get("host.name"), Some("b"));
        assert!(resources.get(2).labels().is_empty());
    }
}
