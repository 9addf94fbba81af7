// Checks GraphQL requests against what GitHub and Linear publish.
// Arguments: the folder with node_modules, and "github" or "linear". Standard input: a list of
// {query, variables}. Standard output: a list of objections.
import { createRequire } from "node:module";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const [folder, service] = process.argv.slice(2);
const require = createRequire(join(resolve(folder), "package.json"));
const { buildSchema, parse, validate, getVariableValues } = {
  ...require("graphql"),
  ...require("graphql/execution/values.js"),
};

// Linear publishes its schema as types of TypeScript, made from it: this is the way back.
function fromTypes(text) {
  const defined = new Set(["ID", "String", "Boolean", "Int", "Float", "Scalars"]);
  const met = new Set();
  const objects = new Set();
  const blocks = [...text.matchAll(/^type (\w+) = (?:\w+ & )*\{\n([\s\S]*?)^\};/gm)];
  const unions = [...text.matchAll(/^type (\w+) = (\w+(?: \| \w+)+);$/gm)];
  const enums = [...text.matchAll(/^declare enum (\w+) \{\n([\s\S]*?)^\}/gm)];
  const all = new Map(blocks.map(([, name, body]) => [name, body]));
  const found = [];

  const named = (type, optional) => {
    const maybe = type.match(/^(?:Input)?Maybe<(.*)>$/);
    if (maybe) return named(maybe[1], true);
    const list = type.match(/^Array<(.*)>$/);
    const scalar = type.match(/^Scalars\["(\w+)"\]$/);
    const plain = list ? `[${named(list[1], false)}]` : scalar ? scalar[1] : type;
    if (!list) met.add(plain);
    return optional ? plain : `${plain}!`;
  };
  const fields = (body) =>
    [...body.matchAll(/^  (\w+)(\??): ([\w<>["\]]+);$/gm)].filter(
      ([, name, , type]) =>
        name !== "__typename" && /^[\w<>]+$/.test(type.replace(/Scalars\["(\w+)"\]/g, "$1")),
    );
  const inputs = (body) =>
    fields(body).map(([, name, maybe, type]) => `${name}: ${named(type, maybe === "?")}`);

  for (const [name, body] of all) {
    if (name === "Scalars" || name.endsWith("Args")) continue;
    defined.add(name);
    if (!/^  __typename\?:/m.test(body) && !["Node", "Entity"].includes(name)) {
      const rows = inputs(body);
      if (rows.length) found.push(`input ${name} { ${rows.join("\n")} }`);
      continue;
    }
    const rows = fields(body).map(([, field, , type]) => {
      const args = all.get(`${name}${field[0].toUpperCase()}${field.slice(1)}Args`);
      const given = args ? inputs(args) : [];
      return `${field}${given.length ? `(${given.join(", ")})` : ""}: ${named(type, false)}`;
    });
    if (rows.length) found.push(`type ${name} { ${rows.join("\n")} }`), objects.add(name);
  }
  for (const [, name, of] of unions) {
    if (!of.split(" | ").every((one) => objects.has(one))) continue;
    found.push(`union ${name} = ${of}`);
    defined.add(name);
  }
  for (const [, name, body] of enums) {
    const values = [...body.matchAll(/= "(\w+)"/g)].map(([, value]) => value);
    if (values.length) found.push(`enum ${name} { ${values.join(" ")} }`), defined.add(name);
  }
  // What is written otherwise, and dates and the like, is taken as it is.
  for (const name of met) if (!defined.has(name)) found.push(`scalar ${name}`);
  return found.join("\n");
}

function published() {
  const own = join(folder, "node_modules");
  if (service === "github") {
    return readFileSync(join(own, "@octokit/graphql-schema/schema.graphql"), "utf8");
  }
  const types = join(own, "@linear/sdk/dist");
  const texts = readdirSync(types)
    .filter((name) => /\.d\.m?ts$/.test(name))
    .map((name) => readFileSync(join(types, name), "utf8"));
  return fromTypes(texts.find((text) => text.includes("type QueryIssuesArgs = {")));
}

const schema = buildSchema(published(), { assumeValid: true, assumeValidSDL: true });
const objections = [];
for (const { query, variables } of JSON.parse(readFileSync(0, "utf8"))) {
  const document = parse(query);
  const errors = [...validate(schema, document)];
  if (!errors.length) {
    const given = getVariableValues(
      schema,
      document.definitions[0].variableDefinitions ?? [],
      variables ?? {},
    );
    errors.push(...(given.errors ?? []));
  }
  objections.push(...errors.map((error) => `${error.message} in ${query.slice(0, 200)}`));
}
console.log(JSON.stringify(objections));
