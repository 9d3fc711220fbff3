//! Pictures of plans as files: the SVG text of [`Plan::to_svg`], whole under its name or not there at all.

use std::path::Path;

use super::new_file::NewFile;
use crate::array::{Array, Comparison, Plan};
use crate::error::Result;
use crate::runtime::Cluster;

impl Array {
    /// Draws what computing the array will take into an SVG file, and returns the plan. Nothing is computed.
    ///
    /// # Errors
    ///
    /// Those of [`plan`](Self::plan) and of [`Plan::save_svg`].
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::random};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let folder = tempfile::tempdir().expect("a temporary directory");
    /// let x = random::uniform(100_000, 50, 1, None);
    /// let plan = x.square().add(x.log1p())?.visualize(&cluster, folder.path().join("plan.svg"))?;
    /// assert!(plan.tasks >= 20);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn visualize(&self, cluster: &Cluster, path: impl AsRef<Path>) -> Result<Plan> {
        let plan = self.plan(cluster)?;
        plan.save_svg(path)?;
        Ok(plan)
    }
}

impl Plan {
    /// Writes the [picture](Self::to_svg) of the plan to a file, replacing one of that name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) and [`Error::BadInput`](crate::Error::BadInput) naming a path that cannot be written; an older file
    /// is untouched then.
    pub fn save_svg(&self, path: impl AsRef<Path>) -> Result<()> {
        save(&self.to_svg(), path.as_ref())
    }
}

impl Comparison<'_> {
    /// Writes the [picture](Self::to_svg) of the plan, with what was measured, to a file.
    ///
    /// # Errors
    ///
    /// Those of [`Plan::save_svg`].
    pub fn save_svg(&self, path: impl AsRef<Path>) -> Result<()> {
        save(&self.to_svg(), path.as_ref())
    }
}

fn save(svg: &str, path: &Path) -> Result<()> {
    let mut file = NewFile::create(path)?;
    file.write(svg.as_bytes())?;
    file.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::random;

    #[test]
    fn a_picture_is_written_whole_and_a_bad_path_is_named() {
        let cluster = Cluster::builder().workers(1).build().expect("sound settings");
        let array = random::uniform(100, 3, 1, 10);
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("plan.svg");
        let plan = array.visualize(&cluster, &path).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), plan.to_svg());
        array.compute(&cluster).expect("small");
        let report = cluster.runs().pop().expect("one run");
        plan.compare(&report).save_svg(&path).expect("written again");
        assert!(std::fs::read_to_string(&path).expect("there").contains("measured"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
        let error = plan.save_svg("/no/such/folder/plan.svg").expect_err("no folder");
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }
}
