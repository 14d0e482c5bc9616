import type { Command } from "../command.ts";
import type { Field, ListField, StructField } from "../fields.ts";
import { MESSAGES, TENSORS } from "../message.ts";

/** One position of a struct: from 0, as on the wire. */
export type FieldRow = { readonly position: number; readonly name: string; readonly type: string };

/**
 * Every struct of the wire by its path: `SUBMIT` is the content of the command, `SUBMIT.items[]` an element of its list,
 * `MODELS.models[].model` a struct within that; `tensors` is the opaque list that travels in `tensors` fields.
 */
export function protocolTables(): ReadonlyMap<string, readonly FieldRow[]> {
  const tables = new Map<string, readonly FieldRow[]>();
  for (const command of Object.keys(MESSAGES) as Command[]) collect(tables, command, MESSAGES[command]);
  collect(tables, "tensors", TENSORS);
  return tables;
}

function collect(tables: Map<string, readonly FieldRow[]>, path: string, field: Field<unknown>): void {
  if ("element" in field) return collect(tables, `${path}[]`, (field as ListField<unknown>).element);
  if (!("fields" in field)) return;
  const columns = Object.entries((field as StructField<unknown>).fields);
  tables.set(
    path,
    columns.map(([name, column], position) => ({ position, name, type: column.wire })),
  );
  for (const [name, column] of columns) collect(tables, `${path}.${name}`, column);
}
