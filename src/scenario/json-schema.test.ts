// docs/scenario.schema.json is made here from the schema; `npx vitest run src/scenario/json-schema.test.ts -u` writes it.

import { readFileSync } from "node:fs";
import { toJsonSchema } from "@valibot/to-json-schema";
import { expect, it } from "vitest";
import { OPT_IN, PROPERTIES } from "./properties.js";
import { scenarioSchema } from "./schema.js";

/** JSON as the repository's formatter leaves it: lists of words on one line where they fit. */
function format(value: unknown, indent: string, before: number): string {
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const line = `[${value.map((item) => JSON.stringify(item)).join(", ")}]`;
    const scalars = value.every((item) => typeof item !== "object");
    if (scalars && indent.length + before + line.length + 1 <= 120) return line;
    return `[\n${value.map((item) => inner + format(item, inner, 0)).join(",\n")}\n${indent}]`;
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value);
    if (entries.length === 0) return "{}";
    const line = ([key, item]: [string, unknown]) => {
      const head = `${JSON.stringify(key)}: `;
      return inner + head + format(item, inner, head.length);
    };
    return `{\n${entries.map(line).join(",\n")}\n${indent}}`;
  }
  return JSON.stringify(value);
}

/** What a file that extends another may hold: no key is required, and null removes one. */
function partial(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(partial);
  if (typeof schema !== "object" || schema === null) return schema;
  const orNull = (value: unknown) => ({ anyOf: [partial(value), { type: "null" }] });
  const entries = Object.entries(schema).flatMap(([key, value]): [string, unknown][] => {
    if (key === "required" || key === "minProperties") return [];
    if (key === "properties") {
      return [[key, Object.fromEntries(Object.entries(value as object).map(([name, item]) => [name, orNull(item)]))]];
    }
    return [[key, key === "additionalProperties" && typeof value === "object" ? orNull(value) : partial(value)]];
  });
  return Object.fromEntries(entries);
}

it("docs/scenario.schema.json is what the schema says", async () => {
  const schema = toJsonSchema(scenarioSchema, {
    errorMode: "ignore",
    typeMode: "input",
    overrideSchema: ({ valibotSchema }) => (valibotSchema.type === "bigint" ? { type: "integer" } : undefined),
    overrideAction: ({ valibotAction, jsonSchema }) => {
      const { requirement } = valibotAction as { requirement?: unknown };
      if (typeof requirement !== "bigint") return undefined;
      // Bounds of 64 bits are no exact JSON numbers; the loader checks them.
      if (requirement > 0xffff_ffffn) return jsonSchema;
      return { ...jsonSchema, [valibotAction.type === "min_value" ? "minimum" : "maximum"]: Number(requirement) };
    },
  });
  const { $schema, ...whole } = schema;
  const either = {
    $schema,
    title: "trapcheck scenario, version 1",
    if: { required: ["extends"] },
    // biome-ignore lint/suspicious/noThenProperty: JSON Schema's keyword
    then: partial(whole),
    else: whole,
  };
  const text = format(either, "", 0);
  await expect(`${text}\n`).toMatchFileSnapshot("../../docs/scenario.schema.json");
});

it("docs/scenario.md has every key of the schema, and every property with its sentence", () => {
  const text = readFileSync(new URL("../../docs/scenario.md", import.meta.url), "utf8");
  for (const key of Object.keys(scenarioSchema.entries)) expect(text).toContain(`\`${key}`);
  for (const { prop, name, sentence } of PROPERTIES) {
    expect(text.replace(/\s+/g, " ")).toContain(`| \`${name}\` | ${OPT_IN.has(prop) ? "" : "on "}| ${sentence} |`);
  }
});
