import Foundation

/// What of a bundle's `manifest.json` an app needs.
public struct Manifest: Decodable, Sendable {
    public let schemaVersion: Int
    public let name: String
    public let revision: String
    public let model: Model
    public let image: Image
    public let tasks: Tasks
    public let text: Text
    public let calibration: Calibration
    public let masks: Masks
    public let graphs: [String: Graph]
    public let files: [StoredFile]

    public struct Model: Decodable, Sendable {
        public let embedDim: Int
        public let imageEncoder: ImageEncoder
    }

    public struct ImageEncoder: Decodable, Sendable {
        public let kind: String
    }

    public struct Image: Decodable, Sendable {
        public let patchSize: Int
        public let padColour: [UInt8]
    }

    public struct Tasks: Decodable, Sendable {
        public let segmentation: Task
        public let classification: Task
    }

    public struct Task: Decodable, Sendable {
        public let resolution: Int
        public let crop: String
    }

    public struct Text: Decodable, Sendable {
        public let contextLength: Int
        public let templates: [String]
        public let logitScale: Float
    }

    public struct Calibration: Decodable, Sendable {
        public let scale: Float
        public let bias: Float
        public let presenceThreshold: Float
        public let maskThresholdScore: Float
        /// Of the scores as a mask prompt; 1 where there is none.
        public let promptScale: Float?
        /// What is added to a label's mask's logits; 0 where there is none.
        public let maskBias: Float?
        /// Of a box's sides: so far outside a box its masks may reach. Without it, anywhere.
        public let boxMargin: Float?
        /// Of the objects of labels; without it, their score is a product of three.
        public let objects: ObjectScore?
    }

    /// The weights of an object's score, and the least score that is told.
    public struct ObjectScore: Decodable, Sendable {
        public let labelScore: Float
        public let predictedIou: Float
        public let stabilityScore: Float
        public let bias: Float
        public let minScore: Float
    }

    public struct Masks: Decodable, Sendable {
        public let maskThreshold: Float
        public let maxPrompts: Int
    }
}

/// A graph: what it takes and gives, and the files that runtimes read.
public struct Graph: Decodable, Sendable {
    public let inputs: [TensorSpec]
    public let outputs: [TensorSpec]
    public let artifacts: [Artifact]
}

/// A graph's input or output.
public struct TensorSpec: Decodable, Sendable {
    public let name: String
    public let dtype: String
    public let shape: [Axis]
}

/// An axis of fixed length, or one that has a name because its length is free.
public enum Axis: Decodable, Sendable, Equatable {
    case fixed(Int)
    case free(String)

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let length = try? container.decode(Int.self) {
            self = .fixed(length)
        } else {
            self = .free(try container.decode(String.self))
        }
    }
}

/// A file of a bundle.
public struct StoredFile: Decodable, Sendable {
    public let path: String
    public let sha256: String
}

/// A file that holds a graph for a runtime. `axes` are the lengths that it fixes.
public struct Artifact: Decodable, Sendable {
    public let runtime: String
    public let precision: String
    public let path: String
    public let sha256: String
    public let axes: [String: Int]
    public let weights: [StoredFile]

    /// All its files, the first of which a runtime opens.
    var files: [StoredFile] { [StoredFile(path: path, sha256: sha256)] + weights }

    /// 16 digits that tell its content from any other's.
    var id: String {
        let digests = files.map(\.sha256).joined()
        return String(sha256Digits(Data(digests.utf8)).prefix(16))
    }
}
