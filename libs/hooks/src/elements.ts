import type { Datatype, ElementsOf, Tensors } from "./contract.ts";

/**
 * The elements of one tensor, with the type of its datatype.
 * @throws {TypeError} where there is no tensor of that name and datatype: a mistake in the hook, as its tensors are checked before.
 */
export function elementsOf<Type extends Datatype>(tensors: Tensors, name: string, datatype: Type): ElementsOf[Type] {
  const tensor = tensors[name];
  if (tensor?.datatype === datatype) return tensor.data as ElementsOf[Type];
  throw new TypeError(`there is no tensor "${name}" of ${datatype}`);
}
