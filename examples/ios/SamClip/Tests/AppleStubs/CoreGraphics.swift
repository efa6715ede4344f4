// See CoreML.swift.
import Foundation

public final class CFString: Sendable {}

public final class CGColorSpace {
    public static let sRGB = CFString()
    public init?(name: CFString) { fatalError() }
}

public func CGColorSpaceCreateDeviceRGB() -> CGColorSpace { fatalError() }

public enum CGImageAlphaInfo: UInt32, Sendable {
    case premultipliedLast = 1
    case noneSkipLast = 5
}

public final class CGImage {
    public var width: Int { fatalError() }
    public var height: Int { fatalError() }
}

public final class CGContext {
    public init?(
        data: UnsafeMutableRawPointer?, width: Int, height: Int, bitsPerComponent: Int,
        bytesPerRow: Int, space: CGColorSpace, bitmapInfo: UInt32
    ) { fatalError() }
    public var data: UnsafeMutableRawPointer? { fatalError() }
    public var bytesPerRow: Int { fatalError() }
    public func draw(_ image: CGImage, in rect: CGRect) { fatalError() }
    public func makeImage() -> CGImage? { fatalError() }
}
