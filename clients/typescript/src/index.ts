/** Client of Dorian, which ages faces in photos over gRPC. */

export { type CallOptions, Client, type ClientOptions, type SearchEvent } from "./client.js";
export { MAX_MESSAGE_BYTES, type Priority, type Tls } from "./channel.js";
export * from "./errors.js";
export * from "./generated/dorian/v1/face_aging_pb.js";
export { faceAt, filter, group, largestFace, years } from "./requests.js";
