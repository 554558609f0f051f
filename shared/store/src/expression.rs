//! Update expressions: what is set, removed, added to a set and taken from one, and on which condition. DynamoDB wants every name and value of an
//! expression as a placeholder; here an attribute `rotation` is `#rotation`, and the value it is set to `:rotation`.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::keys::Item;

/// An update of one item, with its condition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expression {
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    delete: Vec<String>,
    conditions: Vec<String>,
    names: HashMap<String, String>,
    values: Item,
}

impl Expression {
    /// Sets an attribute.
    pub(crate) fn set(self, attribute: &str, value: AttributeValue) -> Self {
        let mut update = self.name(attribute).value(attribute, value);
        update.set.push(format!("#{attribute} = :{attribute}"));
        update
    }

    /// Sets an attribute to what a field of another one, which is a map, was before this update.
    pub(crate) fn set_to_field(self, attribute: &str, (map, field): (&str, &str)) -> Self {
        let mut update = self.name(attribute).name(map).name(field);
        update.set.push(format!("#{attribute} = #{map}.#{field}"));
        update
    }

    /// Sets an attribute that is known and removes one that is not: it was true of another place or time.
    pub(crate) fn set_or_remove(self, attribute: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self.remove(attribute),
        }
    }

    /// Sets an attribute that is not there yet.
    pub(crate) fn set_once(self, attribute: &str, value: AttributeValue) -> Self {
        let mut update = self.name(attribute).value(attribute, value);
        let set = format!("#{attribute} = if_not_exists(#{attribute}, :{attribute})");
        update.set.push(set);
        update
    }

    /// Removes an attribute.
    pub(crate) fn remove(self, attribute: &str) -> Self {
        let mut update = self.name(attribute);
        update.remove.push(format!("#{attribute}"));
        update
    }

    /// Adds the elements of a set to an attribute, which is made if it is not there. What is in it already changes
    /// nothing, so this may be sent again.
    pub(crate) fn add_to_set(self, attribute: &str, elements: AttributeValue) -> Self {
        let mut update = self.name(attribute).value(attribute, elements);
        update.add.push(format!("#{attribute} :{attribute}"));
        update
    }

    /// Adds a number, perhaps a negative one, to an attribute, which counts as 0 if it is not there.
    pub(crate) fn add_number(self, attribute: &str, number: AttributeValue) -> Self {
        self.add_to_set(attribute, number)
    }

    /// Takes the elements of a set out of an attribute, which is removed if it is empty then.
    pub(crate) fn delete_from_set(self, attribute: &str, elements: AttributeValue) -> Self {
        let mut update = self.name(attribute).value(attribute, elements);
        update.delete.push(format!("#{attribute} :{attribute}"));
        update
    }

    /// Writes only if this holds too. Its placeholders are given with [`Expression::name`] and [`Expression::value`].
    pub(crate) fn only_if(mut self, condition: &str) -> Self {
        self.conditions.push(condition.to_owned());
        self
    }

    /// Names an attribute that a condition mentions as `#attribute`.
    pub(crate) fn name(mut self, attribute: &str) -> Self {
        self.names
            .insert(format!("#{attribute}"), attribute.to_owned());
        self
    }

    /// Gives a value that a condition mentions as `:placeholder`.
    pub(crate) fn value(mut self, placeholder: &str, value: AttributeValue) -> Self {
        self.values.insert(format!(":{placeholder}"), value);
        self
    }

    /// The update expression.
    pub(crate) fn update(&self) -> String {
        let part = |word: &str, actions: &[String]| match actions {
            [] => String::new(),
            actions => format!("{word} {} ", actions.join(", ")),
        };
        let update = part("SET", &self.set)
            + &part("REMOVE", &self.remove)
            + &part("ADD", &self.add)
            + &part("DELETE", &self.delete);
        update.trim_end().to_owned()
    }

    /// The condition, if there is one.
    pub(crate) fn condition(&self) -> Option<String> {
        (!self.conditions.is_empty()).then(|| self.conditions.join(" AND "))
    }

    /// What the placeholders of attributes stand for; DynamoDB refuses an empty map.
    pub(crate) fn names(&self) -> Option<HashMap<String, String>> {
        (!self.names.is_empty()).then(|| self.names.clone())
    }

    /// What the placeholders of values stand for; the same.
    pub(crate) fn values(&self) -> Option<Item> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_sets_removes_and_asks() {
        let text = |value: &str| AttributeValue::S(value.to_owned());
        let update = Expression::default()
            .set("name", text("Kitchen"))
            .set_to_field("previous", ("change", "id"))
            .set_or_remove("city", None)
            .set_or_remove("country", Some(text("CA")))
            .add_to_set("tags", AttributeValue::Ss(vec!["new".to_owned()]))
            .delete_from_set("roles", AttributeValue::Ss(vec!["old".to_owned()]))
            .only_if("#version = :read")
            .name("version")
            .value("read", text("7"))
            .only_if("attribute_exists(#name)");
        assert_eq!(
            update.update(),
            "SET #name = :name, #previous = #change.#id, #country = :country REMOVE #city ADD #tags :tags DELETE #roles :roles"
        );
        assert_eq!(
            update.condition().as_deref(),
            Some("#version = :read AND attribute_exists(#name)")
        );
        assert_eq!(update.names().map(|names| names.len()), Some(9));
        assert_eq!(update.values().map(|values| values.len()), Some(5));
        let bare = Expression::default().remove("name");
        assert_eq!(bare.update(), "REMOVE #name");
        assert_eq!((bare.condition(), bare.values()), (None, None));
        assert_eq!(Expression::default().names(), None);
    }
}
