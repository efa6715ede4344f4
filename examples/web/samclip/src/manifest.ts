import { BundleError, BundleSchemaError, GraphMissingError, OptionError } from "./errors.js";

export type Precision = "fp32" | "fp16" | "int8";

export interface BundleFile {
  readonly path: string;
  readonly sha256: string;
  readonly size_bytes: number;
}

export interface Artifact extends BundleFile {
  readonly runtime: string;
  readonly precision: string;
  readonly weights: readonly BundleFile[];
}

export interface Task {
  readonly resolution: number;
  readonly crop: string;
}

/** The weights of what an object's score is made of. */
export interface ObjectScore {
  readonly label_score: number;
  readonly predicted_iou: number;
  readonly stability_score: number;
  readonly bias: number;
  /** By default, objects below it are not told. */
  readonly min_score: number;
}

/** A label's score is the sigmoid of scale * (cosine - bias). */
export interface Calibration {
  readonly scale: number;
  readonly bias: number;
  readonly presence_threshold: number;
  /** Not there in a bundle whose objects are not calibrated. */
  readonly objects?: ObjectScore | null;
  /** Of a box's sides: so far outside a box its masks may reach. Without it, anywhere. */
  readonly box_margin?: number | null;
}

/** What this package reads of a bundle's manifest.json. */
export interface Manifest {
  readonly schema_version: number;
  readonly name: string;
  readonly revision: string;
  readonly model: { readonly embed_dim: number; readonly image_encoder: { readonly kind: string } };
  readonly image: { readonly patch_size: number };
  readonly tasks: { readonly segmentation: Task; readonly classification: Task };
  readonly text: {
    readonly context_length: number;
    readonly templates: readonly string[];
    readonly logit_scale: number;
  };
  readonly calibration: Calibration;
  readonly masks: { readonly mask_threshold: number; readonly max_prompts: number };
  readonly graphs: Readonly<Record<string, { readonly artifacts: readonly Artifact[] }>>;
  readonly files: readonly BundleFile[];
}

const SCHEMA_VERSION = 1;

export function parseManifest(content: Uint8Array): Manifest {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(new TextDecoder().decode(content));
  } catch {
    throw new BundleError("manifest.json is not JSON: is this the address of a bundle's folder?");
  }
  if (manifest?.schema_version !== SCHEMA_VERSION) {
    throw new BundleSchemaError(
      `manifest.json has schema_version ${manifest?.schema_version}; this version of samclip reads ` +
        `${SCHEMA_VERSION}: take the samclip that belongs to the bundle`,
    );
  }
  return manifest;
}

/** The precisions that a bundle has ONNX files of, the preferred one first. */
export function precisionsOf(manifest: Manifest): string[] {
  const encoder = `image_encoder@${manifest.tasks.segmentation.resolution}`;
  return onnxOf(manifest, encoder).map((each) => each.precision);
}

/** The files of a graph. Of `letterbox`, which computes in integers, there is one for all. */
export function artifactOf(manifest: Manifest, graph: string, precision: string): Artifact {
  const artifacts = onnxOf(manifest, graph);
  const found =
    artifacts.find((each) => each.precision === precision) ??
    (graph.startsWith("letterbox@") ? artifacts[0] : undefined);
  if (!found) {
    const there = artifacts.map((each) => each.precision).join(", ");
    throw new OptionError(`${graph} is not there in ${precision}; this bundle has ${there}`);
  }
  return found;
}

function onnxOf(manifest: Manifest, graph: string): Artifact[] {
  const artifacts = manifest.graphs[graph]?.artifacts.filter((each) => each.runtime === "onnx");
  if (!artifacts?.length) {
    throw new GraphMissingError(
      `${manifest.name} ${manifest.revision} has no ONNX file of ${graph}: take a bundle that has ` +
        "it, or export this one again",
    );
  }
  return artifacts;
}
