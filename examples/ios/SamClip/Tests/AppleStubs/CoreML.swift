// The part of Core ML's interface that is called, so that Linux can check the calls' types. It says
// what this package takes Core ML to be, and nothing about what Core ML is. Never linked.
import CoreVideo
import Foundation

public enum MLComputeUnits: Int, Sendable {
    case cpuOnly = 0
    case cpuAndGPU = 1
    case all = 2
    case cpuAndNeuralEngine = 3
}

open class MLModelConfiguration: NSObject {
    open var computeUnits: MLComputeUnits = .all
}

public enum MLMultiArrayDataType: Int, Sendable {
    case float32 = 65568
    case float16 = 65552
    case int32 = 131104
}

public protocol MLShapedArrayScalar {}
extension Float: MLShapedArrayScalar {}
extension Int32: MLShapedArrayScalar {}

public protocol MLShapedArrayProtocol {}

public struct MLShapedArray<Scalar: MLShapedArrayScalar>: MLShapedArrayProtocol {
    public init(scalars: some Sequence<Scalar>, shape: [Int]) { fatalError() }
    public init(converting array: MLMultiArray) { fatalError() }
    public var scalars: [Scalar] { fatalError() }
}

open class MLMultiArray: NSObject {
    public convenience init(_ shaped: some MLShapedArrayProtocol) { fatalError() }
    public convenience init(
        concatenating arrays: [MLMultiArray], axis: Int, dataType: MLMultiArrayDataType
    ) { fatalError() }
    open var shape: [NSNumber] { fatalError() }
}

open class MLMultiArrayConstraint: NSObject {
    open var dataType: MLMultiArrayDataType { fatalError() }
}

open class MLFeatureDescription: NSObject {
    open var multiArrayConstraint: MLMultiArrayConstraint? { fatalError() }
}

open class MLModelDescription: NSObject {
    open var inputDescriptionsByName: [String: MLFeatureDescription] { fatalError() }
}

open class MLFeatureValue: NSObject {
    public convenience init(multiArray: MLMultiArray) { fatalError() }
    public convenience init(pixelBuffer: CVPixelBuffer) { fatalError() }
    open var multiArrayValue: MLMultiArray? { fatalError() }
}

public protocol MLFeatureProvider {
    func featureValue(for name: String) -> MLFeatureValue?
}

open class MLDictionaryFeatureProvider: NSObject, MLFeatureProvider {
    public init(dictionary: [String: Any]) throws { fatalError() }
    open func featureValue(for name: String) -> MLFeatureValue? { fatalError() }
}

open class MLModel: NSObject {
    open var modelDescription: MLModelDescription { fatalError() }
    open class func compileModel(at url: URL) async throws -> URL { fatalError() }
    open class func load(
        contentsOf url: URL, configuration: MLModelConfiguration = .init()
    ) async throws -> MLModel { fatalError() }
    open func prediction(from input: any MLFeatureProvider) async throws -> any MLFeatureProvider {
        fatalError()
    }
}
