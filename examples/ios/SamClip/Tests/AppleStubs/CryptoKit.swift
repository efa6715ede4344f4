// See CoreML.swift.
import Foundation

public enum SHA256 {
    public static func hash(data: some DataProtocol) -> [UInt8] { fatalError() }
}
