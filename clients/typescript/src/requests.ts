/** Short forms of what requests are made of. */

import type { MessageInitShape } from "@bufbuild/protobuf";

import type { AgeSchema, FaceSelectorSchema } from "./generated/dorian/v1/face_aging_pb.js";

type Age = MessageInitShape<typeof AgeSchema>;
type FaceSelector = MessageInitShape<typeof FaceSelectorSchema>;

/** An age group by its label, such as "60+". */
export const group = (label: string): Age => ({ kind: { case: "group", value: label } });

/** An age in years, 0 to 120. */
export const years = (value: number): Age => ({ kind: { case: "years", value } });

/** A filter by its name, such as "young"; only as a target. */
export const filter = (name: string): Age => ({ kind: { case: "filter", value: name } });

/** The largest face of a photo. */
export const largestFace: FaceSelector = { kind: { case: "largest", value: true } };

/** A face by its index, as `detect` gives it: 0 is the largest. */
export const faceAt = (index: number): FaceSelector => ({ kind: { case: "index", value: index } });
