//! Which group each cell belongs to: the combinations of one or more columns of labels that there are.
//!
//! As in scanpy, a column that is not categorical is taken as one, its values sorted; groups stand in the order of the
//! categories, the first column's slowest; combinations that no cell has are left out; a cell with a missing label is in no
//! group; and a group is called after its labels, joined by an underscore.

use std::collections::BTreeMap;

use super::tally::NO_GROUP;
use crate::array::DType;
use crate::cells::{Categories, Column, Frame, Numbers};
use crate::error::{Error, Result};

/// The groups of cells.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    /// The group of each cell, or [`NO_GROUP`].
    pub(crate) of_cells: Vec<u32>,
    /// How many cells each group has.
    pub(crate) sizes: Vec<u64>,
    /// The groups' names.
    pub(crate) names: Vec<String>,
    /// For each column its name and the label of each group.
    pub(crate) columns: Vec<(String, Categories)>,
}

impl Groups {
    /// Groups cells by the labels of some columns.
    ///
    /// # Errors
    /// `BadArgument` for no column or one that there is not; whatever reading a column can fail with.
    pub(crate) fn of(obs: &Frame, by: &[String]) -> Result<Groups> {
        if by.is_empty() {
            return Err(Error::bad_argument("aggregate", "by", "no column", "the name of at least one column of obs"));
        }
        let columns = by.iter().map(|name| Ok(used(to_categories(obs.column(name)?)))).collect::<Result<Vec<_>>>()?;
        let combination = |cell: usize| -> Option<Vec<u32>> {
            columns.iter().map(|column| u32::try_from(column.codes[cell]).ok()).collect()
        };
        let n_cells = columns[0].codes.len();
        let mut found: BTreeMap<Vec<u32>, (u32, u64)> = BTreeMap::new();
        (0..n_cells).filter_map(combination).for_each(|codes| found.entry(codes).or_default().1 += 1);
        found.values_mut().enumerate().for_each(|(group, (number, _))| *number = group as u32);
        let group = |cell| combination(cell).map_or(NO_GROUP, |codes| found[&codes].0);
        let label = |codes: &Vec<u32>, at: usize| columns[at].names[codes[at] as usize].clone();
        let name = |codes: &Vec<u32>| (0..columns.len()).map(|at| label(codes, at)).collect::<Vec<_>>().join("_");
        let of_column = |(at, name): (usize, &String)| {
            let codes = found.keys().map(|codes| codes[at] as i32).collect();
            (name.clone(), Categories { codes, ..columns[at].clone() })
        };
        Ok(Groups {
            of_cells: (0..n_cells).map(group).collect(),
            sizes: found.values().map(|(_, size)| *size).collect(),
            names: found.keys().map(name).collect(),
            columns: by.iter().enumerate().map(of_column).collect(),
        })
    }

    /// Returns how many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Returns a row for each group: its labels and how many cells it has.
    ///
    /// # Errors
    /// `BadArgument` when a column is called as the number of cells is.
    pub(crate) fn to_frame(&self) -> Result<Frame> {
        let labels = self.columns.iter().map(|(name, labels)| (name.clone(), Column::Categories(labels.clone())));
        let sizes: Vec<i64> = self.sizes.iter().map(|size| *size as i64).collect();
        let columns = labels.chain([("n_obs_aggregated".to_string(), Column::from(sizes))]).collect();
        Frame::in_memory(self.names.clone(), columns)
    }
}

/// Takes any column as categories: numbers ascending, false before true, text in the order of its code points.
pub(crate) fn to_categories(column: Column) -> Categories {
    match column {
        Column::Categories(categories) => categories,
        Column::Strings(texts) => sorted(texts, None, |text| text.clone()),
        Column::Bools(values) => {
            let name = |value: &bool| if *value { "True".to_string() } else { "False".to_string() };
            sorted(values, Some(DType::Bool), name)
        }
        Column::Numbers(numbers) => of_numbers(&numbers),
    }
}

fn of_numbers(numbers: &Numbers) -> Categories {
    // Order by value and not by text; a float64 tells apart all but integers beyond 2⁵³, which their text does.
    let values = numbers.to_f64();
    let keys = (0..numbers.len()).map(|row| {
        let text = numbers.text(row)?;
        // Zero has one name, whatever its sign.
        Some((Ordered(values[row] + 0.0), text))
    });
    let name = |(value, text): &(Ordered, String)| match numbers.dtype().is_float() && value.0.fract() == 0.0 {
        // Python writes a whole float with its point.
        true => format!("{:.1}", value.0),
        false => text.clone(),
    };
    let numeric = Some(numbers.dtype());
    sorted(keys.collect(), numeric, name)
}

/// A float in its total order.
#[derive(Clone, Copy, PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

fn sorted<K: Ord>(keys: Vec<Option<K>>, numeric: Option<DType>, name: impl Fn(&K) -> String) -> Categories {
    let mut places: BTreeMap<&K, i32> = keys.iter().flatten().map(|key| (key, 0)).collect();
    places.values_mut().enumerate().for_each(|(at, place)| *place = at as i32);
    let codes = keys.iter().map(|key| key.as_ref().map_or(-1, |key| places[key])).collect();
    let names = places.keys().map(|key| name(key)).collect();
    Categories { numeric, ..Categories::new(codes, names) }
}

/// Drops names that no row has; a code that names nothing is as one that is missing.
pub(crate) fn used(categories: Categories) -> Categories {
    let Categories { mut codes, names, ordered, numeric } = categories;
    let mut places = vec![-1; names.len()];
    let place = |code: i32| usize::try_from(code).ok().filter(|code| *code < names.len());
    codes.iter().filter_map(|code| place(*code)).for_each(|code| places[code] = 0);
    let mut next = 0;
    for place in places.iter_mut().filter(|place| **place == 0) {
        (*place, next) = (next, next + 1);
    }
    codes.iter_mut().for_each(|code| *code = place(*code).map_or(-1, |code| places[code]));
    let names = names.into_iter().zip(&places).filter(|(_, place)| **place >= 0).map(|(name, _)| name).collect();
    Categories { codes, names, ordered, numeric }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(columns: Vec<(&str, Column)>) -> Frame {
        let n = columns[0].1.len();
        let columns = columns.into_iter().map(|(name, column)| (name.to_string(), column)).collect();
        Frame::in_memory((0..n).map(|i| i.to_string()).collect(), columns).expect("columns of one length")
    }

    #[test]
    fn groups_are_the_combinations_that_there_are_in_the_order_of_the_categories() {
        let types = Categories::new(vec![2, 0, 2, -1, 2, 0], vec!["T".into(), "unused".into(), "B".into()]);
        let ages = vec![10.0, 2.5, 2.5, 2.5, 10.0, f64::NAN];
        let obs = frame(vec![("type", Column::Categories(types)), ("age", Column::from(ages))]);
        let groups = Groups::of(&obs, &["type".into(), "age".into()]).expect("two columns");
        // T before B, as the categories say; 2.5 before 10, as numbers do; cells 3 and 5 lack a label.
        assert_eq!(groups.names, ["T_2.5", "B_2.5", "B_10.0"]);
        assert_eq!(groups.of_cells, [2, 0, 1, NO_GROUP, 2, NO_GROUP]);
        assert_eq!(groups.sizes, [1, 1, 2]);
        let labels = groups.to_frame().expect("a row for each");
        assert_eq!(labels.columns(), ["type", "age", "n_obs_aggregated"]);
        assert_eq!(labels.column("type").expect("there").text(1).as_deref(), Some("B"));
        assert_eq!(labels.column("n_obs_aggregated").expect("there").text(2).as_deref(), Some("2"));
    }

    #[test]
    fn columns_of_every_kind_group_as_in_python() {
        let texts = Column::Strings(["b", "B", "b"].map(|x| Some(x.to_string())).into());
        let bools = Column::Bools(vec![Some(true), None, Some(false)]);
        let whole = Column::from(vec![10i32, -3, 9]);
        let obs = frame(vec![("text", texts), ("bool", bools), ("int", whole)]);
        let names = |by: &str| Groups::of(&obs, &[by.to_string()]).expect("a column").names;
        assert_eq!(names("text"), ["B", "b"]);
        assert_eq!(names("bool"), ["False", "True"]);
        assert_eq!(names("int"), ["-3", "9", "10"]);
        assert!(Groups::of(&obs, &[]).is_err() && Groups::of(&obs, &["none".into()]).is_err());
    }
}
