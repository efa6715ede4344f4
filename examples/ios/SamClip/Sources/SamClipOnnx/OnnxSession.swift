import COnnxRuntime
import Foundation
import SamClip

/// An open graph. onnxruntime lets any number of threads run it.
final class OnnxSession: Session, @unchecked Sendable {
    private let runtime: Runtime
    private let session: OpaquePointer
    private let outputs: [String]

    init(path: String, outputs: [String], threads: Int) throws {
        runtime = try Runtime.shared.get()
        session = try runtime.open(path, threads: threads)
        self.outputs = outputs
    }

    deinit { runtime.api.ReleaseSession(session) }

    func run(_ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        let names = Array(inputs.keys)
        var values: [OpaquePointer?] = []
        var results = [OpaquePointer?](repeating: nil, count: outputs.count)
        defer { (values + results).forEach { runtime.api.ReleaseValue($0) } }
        for name in names { values.append(try runtime.value(of: inputs[name]!)) }
        let given = names.map { UnsafePointer(strdup($0)) }
        let wanted = outputs.map { UnsafePointer(strdup($0)) }
        defer { (given + wanted).forEach { free(UnsafeMutablePointer(mutating: $0)) } }
        try runtime.check(
            runtime.api.Run(
                session, nil, given, values, values.count, wanted, wanted.count, &results))
        var found: [String: Tensor] = [:]
        for (name, result) in zip(outputs, results) { found[name] = try runtime.tensor(of: result) }
        return found
    }
}

/// onnxruntime itself: its functions, and the environment that a process has once.
private struct Runtime: @unchecked Sendable {
    static let shared = Result { try Runtime() }

    let api: OrtApi
    private let environment: OpaquePointer?
    private let allocator: UnsafeMutablePointer<OrtAllocator>?

    private init() throws {
        guard let base = OrtGetApiBase(), let api = base.pointee.GetApi(SAMCLIP_ORT_API_VERSION)
        else {
            throw SamClipError.runtime(
                "this onnxruntime is older than 1.\(SAMCLIP_ORT_API_VERSION); install a newer one")
        }
        var environment: OpaquePointer?
        var allocator: UnsafeMutablePointer<OrtAllocator>?
        let create = api.pointee.CreateEnv
        try Self.check(create?(ORT_LOGGING_LEVEL_ERROR, "samclip", &environment), api.pointee)
        try Self.check(api.pointee.GetAllocatorWithDefaultOptions(&allocator), api.pointee)
        self.api = api.pointee
        self.environment = environment
        self.allocator = allocator
    }

    func check(_ status: OpaquePointer?) throws { try Self.check(status, api) }

    private static func check(_ status: OpaquePointer?, _ api: OrtApi) throws {
        guard let status else { return }
        defer { api.ReleaseStatus(status) }
        let message = api.GetErrorMessage(status).map { String(cString: $0) }
        throw SamClipError.runtime("onnxruntime: \(message ?? "an error without a message")")
    }

    func open(_ path: String, threads: Int) throws -> OpaquePointer {
        var options: OpaquePointer?
        var session: OpaquePointer?
        try check(api.CreateSessionOptions(&options))
        defer { api.ReleaseSessionOptions(options) }
        try check(api.SetIntraOpNumThreads(options, Int32(threads)))
        try check(api.CreateSession(environment, path, options, &session))
        return session!
    }

    /// A value with a copy of a tensor, which onnxruntime owns.
    func value(of tensor: Tensor) throws -> OpaquePointer? {
        switch tensor.values {
        case .float32(let values):
            return try value(values, tensor.shape, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
        case .uint8(let values):
            return try value(values, tensor.shape, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8)
        case .int32(let values):
            return try value(values, tensor.shape, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32)
        }
    }

    private func value<T>(
        _ values: [T], _ shape: [Int], _ type: ONNXTensorElementDataType
    ) throws -> OpaquePointer? {
        var value: OpaquePointer?
        var target: UnsafeMutableRawPointer?
        let lengths = shape.map { Int64($0) }
        try check(
            api.CreateTensorAsOrtValue(allocator, lengths, lengths.count, type, &value))
        try check(api.GetTensorMutableData(value, &target))
        values.withUnsafeBytes { source in
            if let start = source.baseAddress {
                target?.copyMemory(from: start, byteCount: source.count)
            }
        }
        return value
    }

    func tensor(of value: OpaquePointer?) throws -> Tensor {
        var info: OpaquePointer?
        var rank = 0
        var data: UnsafeMutableRawPointer?
        var type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
        try check(api.GetTensorTypeAndShape(value, &info))
        defer { api.ReleaseTensorTypeAndShapeInfo(info) }
        try check(api.GetDimensionsCount(info, &rank))
        var lengths = [Int64](repeating: 0, count: rank)
        try check(api.GetDimensions(info, &lengths, rank))
        try check(api.GetTensorElementType(info, &type))
        try check(api.GetTensorMutableData(value, &data))
        let shape = lengths.map { Int($0) }
        let count = shape.reduce(1, *)
        func copy<T>(_: T.Type) -> [T] {
            let start = data?.assumingMemoryBound(to: T.self)
            return Array(UnsafeBufferPointer(start: start, count: count))
        }
        switch type {
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: return Tensor(copy(Float.self), shape: shape)
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8: return Tensor(copy(UInt8.self), shape: shape)
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32: return Tensor(copy(Int32.self), shape: shape)
        default: throw SamClipError.runtime("onnxruntime gave a tensor of type \(type.rawValue)")
        }
    }
}
